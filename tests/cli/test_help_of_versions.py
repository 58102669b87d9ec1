"""What options take in each version: their help, and what is said of what they do not take."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from qmpd.cli.system.option_groups import option_groups
from qmpd.options import groups
from qmpd.options.qemu_opts import OptionGroup
from qmpd.profile.shipped import DEFAULT, load
from tests.support.versions import MEASURED, both_argv, by_turns

HELPS: Final = (
    *("-chardev help", "-drive format=help", "-netdev help", "-vga help -machine pc", "-d help"),
    *("-vga help", "-object help", "-object iothread,help", "-object secret,?"),
    *("-object throttle-group,help", "-object memory-backend-ram,help", "-object nosuch,help"),
    *("-d trace:help", "-trace help", "-msg help", "-add-fd help", "-global help", "-iscsi help"),
    *("-boot help", "-smp help", "-rtc help", "-overcommit help", "-action help"),
)
DAEMONS: Final = ("--chardev help", "--object help", "--object iothread,help")
REFUSED: Final = (
    *("-vga nosuch", "-vga std,retrace=", "-vga std,x", "-vga cg3"),
    *("-vga std,", "-d nosuch", "-d cpu,", "-d trace:", "-d tid", "-D a%s", "-D a -d tid"),
    *("-object iothread,id=o,zz=1", "-object nosuch,id=o", "-object iothread,id=o,nozz"),
    *("-object secret,id=o", "-object memory-backend-ram,id=o", "-object ="),
    *("-object memory-backend-ram,id=o,size=x", "-object throttle-group,id=o,limits.x=1"),
    *("-object memory-backend-ram,id=o,size=1M,host-nodes=x", "-object filter-buffer,id=o"),
    *("-object memory-backend-ram,id=o,size=1M,prealloc-threads=x", "-object rng-random,x,id=o"),
    *("-chardev null,id=c,mouse=x", "-chardev null,id=c,input-path=x", "-chardev null,id=c,x=1"),
    *("-chardev null,id=c,reconnect=x", "-chardev hub,id=c"),
    *(
        "-chardev braille,id=c,x=1",
        "-overcommit mem-lock=x",
        "-fsdev local,id=f,max_xattr=x",
        "-smp cpus=x",
    ),
    *("-run-with exit-with-parent=x", "-smp books=1", "-smp x=1", "-smp cpus=x"),
)

_QUIT: Final = '{"execute": "qmp_capabilities"} {"execute": "quit"}'
_BEGIN: Final = re.compile(r"^(?:qemu-[^:\n]*|main\.py):", re.M)
_ANSWER: Final = re.compile(r'\{"(?:QMP|return|timestamp)".*\n')


def _ended(argv: list[str], folder: Path) -> tuple[int, str, str]:
    run = subprocess.run(argv, cwd=folder, input=_QUIT, capture_output=True, text=True, timeout=60)
    # what is said of modules of the display is no matter of options
    said = "".join(
        line
        for line in run.stderr.splitlines(keepends=True)
        if "type is NULL" not in line and "PROLOGUE" not in line
    )
    # where the program runs, it is of no matter what it answers
    printed = _ANSWER.sub("", run.stdout)
    return run.returncode, printed, _BEGIN.sub("qemu:", said)


@by_turns("words", {words: words for words in (*HELPS, *REFUSED)})
def test_emulator(version: str, words: str, tmp_path: Path) -> None:
    line = f"qemu-system-x86_64 -machine none -nodefaults -display none -qmp stdio {words}"
    real, ours = (_ended(argv, tmp_path) for argv in both_argv(version, line.split()))
    assert ours == real


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("words", DAEMONS)
def test_storage_daemon(version: str, words: str, tmp_path: Path) -> None:
    line = ["qemu-storage-daemon", *words.split()]
    real, ours = (_ended(argv, tmp_path) for argv in both_argv(version, line))
    assert ours == real


def test_groups_of_the_default_version() -> None:
    """The table in the code says what the real program says of itself."""
    recorded = option_groups(load(DEFAULT))
    for group in vars(groups).values():
        if isinstance(group, OptionGroup) and group.kinds is not None:
            assert group == recorded[group.name]

"""Random command lines: each version ends with the same status, and says the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.differential.command_lines import STORAGE_DAEMON, SYSTEM, words
from tests.support.versions import MEASURED, both_argv, examples

SEED: Final = os.environ.get("QMPD_COMMAND_LINES_SEED", "0")
_BEGIN: Final = re.compile(r"^(?:/\S*/)?(?:qemu-[a-z0-9_.-]+|main\.py)(?=:)", re.M)
PROGRAMS: Final = {
    "system": (
        "qemu-system-x86_64 -machine none -nodefaults -display none -qmp stdio".split(),
        SYSTEM,
    ),
    "storage-daemon": (
        "qemu-storage-daemon --chardev stdio,id=m --monitor m".split(),
        STORAGE_DAEMON,
    ),
}
LEFT: Final = {"5.2": "-netdev|path=p,host=h"}
"""Lines of which a version says something else than qmpd, which says what 7.2 does."""
_QUIT: Final = b'{"execute": "qmp_capabilities"}{"execute": "quit"}'


def _ended(argv: list[str], folder: Path) -> tuple[int, str]:
    """The exit status, and what is said on standard error."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run = subprocess.run(argv, cwd=folder, input=_QUIT, capture_output=True, timeout=60)
    return run.returncode, _BEGIN.sub("qemu", run.stderr.decode("utf-8", "replace"))


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("program", PROGRAMS)
def test_random_command_lines(program: str, version: str, tmp_path: Path) -> None:
    argv, options = PROGRAMS[program]
    random = Random(f"{SEED}/{program}/{version}")
    differences = []
    for _ in range(examples(version, 6, few=6)):
        more = words(random, options)
        if version in LEFT and re.search(LEFT[version], " ".join(more)):
            continue
        real_argv, our_argv = both_argv(version, [*argv, *more])
        real = _ended(real_argv, tmp_path / "x")
        ours = _ended(our_argv, tmp_path / "x")
        # what it does not do, qmpd says
        if ours != real and not re.search("qmpd|not served", ours[1]):
            differences.append(f"{more}\n  {real}\n  {ours}")
    assert not differences, "\n".join(differences)


FOUND: Final = {
    "system": ("-netdev {", '-netdev {"type":'),
    "storage-daemon": tuple(
        f"--nbd-server {options}"
        for options in (
            *("x=1", "x=1,addr.type=unix", "addr.type=unix,x=1,addr.path=s", "addr.x=1"),
            *("addr.type=unix,addr.y=1", "max-connections=x,y=1", '{"x":1}', '{"x":1,"addr":5}'),
        )
    ),
}
"""Lines that once differed."""


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("program", FOUND)
def test_lines_found(program: str, version: str, tmp_path: Path) -> None:
    argv, _ = PROGRAMS[program]
    for more in FOUND[program]:
        if version in LEFT and re.search(LEFT[version], more):
            continue
        real_argv, our_argv = both_argv(version, [*argv, *more.split()])
        assert _ended(our_argv, tmp_path / "x") == _ended(real_argv, tmp_path / "x"), more

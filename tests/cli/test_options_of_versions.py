"""Command lines of each version: which options there are, and what is said of wrong ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.versions import both_argv, by_turns

PROBES = ("-machine help", "-cpu help", "-accel help", "-machine pc,help", "-machine none,help")

REFUSED = (
    *("-machine nosuch", "-machine pc,nosuch=1", "-machine pc,accel=nosuch", "-cpu nosuch"),
    *("--preconfig -incoming tcp:0:9", "-blockdev {", "-blockdev {'a':1,}"),
    "-blockdev null-co,node-name=a -blockdev null-co,node-name=a",
    # options that only some versions have, and one that none has
    *(f"-{name} -nosuch -nosuch" for name in ("action", "run-with", "no-acpi")),
    *(f"-{name} -nosuch -nosuch" for name in ("tb-size", "runas")),
    "-nosuch",
)


def _printed(argv: list[str], cwd: Path) -> tuple[int, str, str]:
    run = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return (
        run.returncode,
        run.stdout,
        re.sub(r"^(?:qemu-system-[^:\n]*|main\.py):", "qemu:", run.stderr, flags=re.M),
    )


@by_turns("words", {words: words for words in (*PROBES, *REFUSED)})
def test_same_output(version: str, words: str, tmp_path: Path) -> None:
    argv = ["qemu-system-x86_64", "-display", "none", "-nodefaults", *words.split()]
    real, ours = (_printed(each, tmp_path) for each in both_argv(version, argv))
    if words in PROBES:
        assert ours[:2] == real[:2]
    else:
        assert ours == real

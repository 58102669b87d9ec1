"""How long programs take from start to greeting, as multiples of ``import asyncio`` in Python."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Final

from benchmarks.in_process import Figure

PAIRS: Final = 9
LIMIT: Final = 1.6

STORAGE_DAEMON: Final = ("qmpd.cli.storage_daemon.main", "--chardev=stdio,id=c", "--monitor=c")
SYSTEM: Final = (
    *("qmpd.cli.system.main", "-machine", "none", "-nodefaults", "-display", "none"),
    *("-qmp", "stdio"),
)
SERVE: Final = ("qmpd.cli.main", "serve", "--qmp", "stdio")


def _ratio(module: str, *options: str) -> float:
    """A program's time to its greeting, as a multiple of the time to import asyncio and end.

    Both in turn, with byte code that is there already, and the median of each.
    """
    ours, bare = [], []
    for _ in range(PAIRS):
        ours.append(_seconds(["-I", "-m", module, *options], greeted=True))
        bare.append(_seconds(["-I", "-c", "import asyncio"], greeted=False))
    return statistics.median(ours) / statistics.median(bare)


def _seconds(arguments: list[str], *, greeted: bool) -> float:
    """Seconds until the interpreter has printed a line, or has ended."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        if greeted:
            assert process.stdout is not None
            assert b"QMP" in process.stdout.readline()
            passed = time.perf_counter() - began
            process.kill()
        else:
            process.wait()
            passed = time.perf_counter() - began
    return passed


FIGURES: Final = (
    Figure("start to greeting / import asyncio", "", lambda: _ratio(*STORAGE_DAEMON), LIMIT),
    Figure("the same, qmpd-system", "", lambda: _ratio(*SYSTEM), LIMIT),
    Figure("the same, qmpd serve", "", lambda: _ratio(*SERVE), LIMIT),
)

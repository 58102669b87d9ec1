"""Programs whose output nobody reads to its end end without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.programs import QMPD_STORAGE_DAEMON, QMPD_SYSTEM

QMPD = [sys.executable, "-m", "qmpd.cli.main"]
TOLD = (
    ["--help"],
    ["--version"],
    ["versions"],
    ["versions", "--json"],
    ["schema", "show", "query-block"],
    ["schema", "diff", "5.2", "11.1"],
    ["schema", "diff", "5.2", "11.1", "--json"],
)
AS_READ = (
    [*QMPD, "schema", "--help"],
    [*QMPD, "lint", "--help"],
    [*QMPD, "serve", "--help"],
    [*QMPD_SYSTEM, "-help"],
    [*QMPD_SYSTEM, "-device", "help"],
    [*QMPD_STORAGE_DAEMON, "--help"],
)


def _unread(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a program whose output goes into a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False)
    finally:
        os.close(writer)


@pytest.mark.parametrize("words", TOLD, ids=" ".join)
def test_told(words: list[str]) -> None:
    result = _unread([*QMPD, *words])

    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("argv", AS_READ, ids=lambda argv: " ".join(argv[-2:]))
def test_as_if_it_had_been_read(argv: list[str]) -> None:
    """QEMU's programs end like that, and so does `argparse`."""
    result = _unread(argv)

    assert (result.returncode, result.stderr) == (0, b"")

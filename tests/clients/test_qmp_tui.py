"""qmp-tui, the real program, at a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest

SIZE: Final = struct.pack("4H", 100, 120, 0, 0)
"""Rows and columns, and what they are in pixels; all that is said here fits."""

TO_EDITOR: Final = b"\x1b[B"
"""Arrow down: from the history, which has the focus first."""

SEND: Final = b"\x1b\r"
"""Alt and Enter."""

ESCAPE: Final = b"\x1b"


class Terminal:
    """qmp-tui, what it shows and what it logs.

    It draws only when a key has come, so what happens in between is told by its log.
    """

    def __init__(self, descriptor: int, log: IO[bytes]) -> None:
        self._descriptor = descriptor
        self._log = log

    def type(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    def logged(self, words: bytes) -> None:
        """Wait until its log says so."""
        assert any(words in line for line in self._log), words

    def shows(self, *words: bytes) -> None:
        """Wait until it has drawn all of this."""
        drawn = b""
        while not all(word in drawn for word in words):
            drawn += os.read(self._descriptor, 65536)

    def ends(self) -> None:
        """Wait until it has left the terminal."""
        try:
            while os.read(self._descriptor, 65536):
                pass
        except OSError:
            pass  # nobody has the other side open


@contextmanager
def _started(socket_path: Path, home: Path) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, SIZE)
    program = Path(sys.executable).with_name("qmp-tui")
    assert program.exists(), "qmp-tui belongs to qemu.qmp and is not installed"
    process = subprocess.Popen(
        [program, "--log-file", "/dev/stderr", "--log-level", "DEBUG", socket_path],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8"},
    )
    os.close(theirs)
    assert process.stderr is not None
    try:
        yield Terminal(ours, process.stderr), process
    finally:
        os.close(ours)
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_typed_command(socket_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("urwid_readline", reason="qmp-tui needs qemu.qmp[tui]")
    with _started(socket_path, tmp_path) as (terminal, process):
        terminal.logged(b"RUNNING")
        terminal.type(TO_EDITOR + b'{"execute": "query-status"}' + SEND)
        terminal.logged(b'"status": "running"')
        terminal.type(b" ")
        terminal.shows(b"[Connected ", b'"query-status"', b'"running"')
        terminal.type(ESCAPE)
        terminal.ends()
        assert process.wait(30) == 0

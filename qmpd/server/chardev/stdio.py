"""Backend ``stdio``: the process's standard input and output as one stream."""

from __future__ import annotations

import os
import sys
from asyncio import AbstractEventLoop
from typing import Any, Final

from qmpd.base.override import override
from qmpd.server.chardev.on_stream import StreamChardev
from qmpd.server.chardev.stream import Stream

FAREWELL_SECONDS: Final = 1.0
"""How long the end waits for a reader of standard output."""


class StdioChardev(StreamChardev):
    """Standard input and output.

    A terminal is put into raw mode (no echo, byte by byte) as a monitor with
    its own line editor needs, and is put back at the end.

    :param signals: let the terminal's keys send signals (``signal=on``)
    """

    def __init__(self, label: str, loop: AbstractEventLoop, *, signals: bool = True) -> None:
        super().__init__(label)
        self._blocking = [(fd, os.get_blocking(fd)) for fd in (0, 1)]
        self._terminal = _make_raw(signals) if os.isatty(0) else None
        sys.stdout.flush()
        self._stream: Stream = Stream(loop, 0, 1, self, self._give_back)
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "stdio"

    @property
    @override
    def outlives_input(self) -> bool:
        """True: standard output is another file than standard input."""
        return True

    @override
    def start(self) -> None:
        self._stream.start()

    @override
    def stream_ended(self) -> None:
        """Tell the frontend; the end of standard input does not end the process."""
        self._closed()

    @override
    def close(self) -> None:
        self._stream.close(flush_seconds=FAREWELL_SECONDS)
        self.is_open = False

    def _give_back(self) -> None:
        for fd, blocking in self._blocking:
            os.set_blocking(fd, blocking)
        if self._terminal is not None:
            import termios

            termios.tcsetattr(0, termios.TCSANOW, self._terminal)


def _make_raw(signals: bool) -> list[Any]:
    import termios

    saved = termios.tcgetattr(0)
    raw = termios.tcgetattr(0)
    raw[0] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    raw[1] |= termios.OPOST
    raw[2] = (raw[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    if not signals:
        raw[3] &= ~termios.ISIG
    termios.tcsetattr(0, termios.TCSANOW, raw)
    return saved

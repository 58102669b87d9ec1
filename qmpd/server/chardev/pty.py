"""Backend ``pty``: a new pseudo terminal, for whoever opens it."""

from __future__ import annotations

import os
import select
from asyncio import AbstractEventLoop, TimerHandle
from typing import TYPE_CHECKING, Final

from qmpd.base.override import override
from qmpd.errors import GenericError
from qmpd.server.chardev.on_stream import StreamChardev
from qmpd.server.chardev.stream import Stream

if TYPE_CHECKING:
    from qmpd.block.images import HostFiles

_LOOK_SECONDS: Final = 1.0
"""How often it is looked whether somebody has opened the terminal: the system does not tell."""


class PtyChardev(StreamChardev):
    """A pseudo terminal whose other side somebody may open and close again.

    :param path: name of a symbolic link to it; None for none
    :param host: where the link is made
    :raises GenericError: it cannot be made
    """

    def __init__(
        self, label: str, loop: AbstractEventLoop, path: str | None, host: HostFiles
    ) -> None:
        super().__init__(label)
        self._loop = loop
        self._host = host
        self._link: str | None = None
        self._timer: TimerHandle | None = None
        if path is not None:
            try:
                host.check_link(path)
            except OSError as error:
                raise GenericError(f"Failed to create PTY symlink: {error.strerror}") from None
        try:
            self._fd, other = os.openpty()
        except OSError as error:
            raise GenericError(f"Failed to create PTY: {error.strerror}") from None
        self.terminal: str = os.ttyname(other)
        """The name of the terminal."""
        _make_raw(other)
        os.close(other)
        if path is not None:
            try:
                host.link(self.terminal, path)
            except OSError as error:
                os.close(self._fd)
                raise GenericError(f"Failed to create PTY symlink: {error.strerror}") from None
            self._link = path

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return f"pty:{self.terminal}"

    @override
    def start(self) -> None:
        self._look()

    def _look(self) -> None:
        self._timer = None
        poll = select.poll()
        poll.register(self._fd, 0)
        if any(events & select.POLLHUP for _, events in poll.poll(0)):
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
            return
        self._stream = Stream(self._loop, self._fd, self._fd, self, lambda: None)
        self._opened()
        self._stream.start()

    @override
    def stream_ended(self) -> None:
        """Wait for whoever opens it next."""
        self.disconnect()

    @override
    def disconnect(self) -> None:
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        self._closed()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    @override
    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._timer is not None:
            self._timer.cancel()
        os.close(self._fd)
        if self._link is not None:
            self._host.remove_link(self.terminal, self._link)


def _make_raw(fd: int) -> None:
    import termios
    import tty

    tty.setraw(fd, termios.TCSAFLUSH)

"""The far end of a stream on descriptors: sockets, pipes, files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from qmpd.server.broken_off import watch_on

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from qmpd.loop.stream import Connection
    from qmpd.machine.host import OpenStream

_CHUNK: Final = 1 << 18


class DescriptorPeer:
    """The far end of a stream: descriptors to read from and to write to, which may be the same.

    :param read_fd: None where nothing comes back
    :param write_fd: None where nothing is sent
    :param kind: what errors call it: ``socket``, ``command`` or ``file``
    :param on_close: called once it has been closed
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        read_fd: int | None,
        write_fd: int | None,
        kind: str,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._kind = kind
        self._on_close = on_close
        self._polled = all(
            not stat.S_ISREG(os.fstat(fd).st_mode) for fd in (read_fd, write_fd) if fd is not None
        )
        self._unsent = b""
        self._closed = False
        self._watching = False
        self._connection: Connection | None = None
        self._awaited: OpenStream | None = None
        self.failure: str | None = None
        for fd in {read_fd, write_fd} - {None}:
            assert fd is not None
            os.set_blocking(fd, False)

    def connect(self, connect: OpenStream) -> None:
        """Make the near end, and begin to read."""
        self._connection = connect(self)
        self.resume_input()

    def connect_when_readable(self, connect: OpenStream) -> None:
        """Make the near end as soon as there is something to read."""
        if not self._closed:
            self._awaited = connect
            self.resume_input()

    @property
    def congested(self) -> bool:
        """Whether a part of the output has yet to leave."""
        return bool(self._unsent)

    # Input

    def resume_input(self) -> None:
        """Read."""
        if self._closed or self._watching or self._read_fd is None:
            return
        self._watching = True
        if self._polled:
            try:
                self._loop.add_reader(self._read_fd, self._readable)
            except OSError:  # what is always ready cannot be polled
                self._polled = False
        if not self._polled:
            self._loop.call_soon(self._read_file)

    def pause_input(self) -> None:
        """Leave further bytes where they are."""
        if self._watching:
            self._watching = False
            if self._polled:
                assert self._read_fd is not None
                self._loop.remove_reader(self._read_fd)

    def _read_file(self) -> None:
        if self._watching:
            self._readable()
        if self._watching:
            self._loop.call_soon(self._read_file)

    def _readable(self) -> None:
        assert self._read_fd is not None
        try:
            data = os.read(self._read_fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if self._connection is None and not self._begin(ended=not data):
            return
        assert self._connection is not None
        if data:
            self._connection.feed(data)
            if self._watching and self._polled:
                watch_on(self._loop, self._read_fd, self._readable)
        else:
            self.pause_input()
            self._connection.closed()

    def _begin(self, *, ended: bool) -> bool:
        """Make the near end that waits for input; not where a pipe ends without any."""
        assert self._read_fd is not None
        assert self._awaited is not None
        if ended and stat.S_ISFIFO(os.fstat(self._read_fd).st_mode):
            self.pause_input()
            return False
        self._connection = self._awaited(self)
        return True

    # Output

    def write(self, data: bytes) -> None:
        """Send `data`; what is not taken now is sent when it is."""
        if self._closed or self.failure is not None:
            return
        if self._unsent:
            self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data) and self.failure is None:
            assert self._write_fd is not None
            self._unsent = data[sent:]
            self._loop.add_writer(self._write_fd, self._writable)

    def _send(self, data: bytes) -> int:
        assert self._write_fd is not None
        try:
            return os.write(self._write_fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.fail(f"Unable to write to {self._kind}: {error.strerror}")
            return 0

    def _writable(self) -> None:
        sent = self._send(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._stop_writing()

    def _stop_writing(self) -> None:
        if self._write_fd is not None and self._polled:
            self._loop.remove_writer(self._write_fd)
        if self._connection is not None:
            self._connection.drained()

    def fail(self, reason: str) -> None:
        """Send nothing any more: that is why."""
        if self.failure is None:
            self.failure = reason
        if self._unsent:
            self._unsent = b""
            self._stop_writing()

    # The end

    def close(self) -> None:
        """Close the descriptors."""
        if self._closed:
            return
        self._closed = True
        self.pause_input()
        if self._unsent:
            self._unsent = b""
            self._stop_writing()
        for fd in {self._read_fd, self._write_fd} - {None}:
            assert fd is not None
            os.close(fd)
        if self._on_close is not None:
            self._on_close()

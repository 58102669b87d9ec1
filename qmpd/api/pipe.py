"""A pipe between two machines of one program."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.stream import Connection

PIPE: Final = "pipe"
"""The path of the socket that the pipe passes for."""


class PipeEnd:
    """One end of a pipe, as the machine at the other end sees it (`StreamPeer`).

    :param clock: what runs the machine that this end belongs to
    """

    congested = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.other: PipeEnd
        self.connection: Connection | None = None
        self.failure: str | None = None
        self._arrived: deque[bytes] = deque()
        self._paused = False
        self._ended = False
        self._closed = False

    def write(self, data: bytes) -> None:
        """Send `data`."""
        if self.failure is None and not self._closed:
            if self.other._closed:
                self.failure = "Unable to write to socket: Broken pipe"
            else:
                self.other._arrived.append(data)
                self.other.deliver()

    def deliver(self) -> None:
        """Have what has arrived fed to the connection, once its machine runs."""
        self._clock.call_soon(self._feed)

    def _feed(self) -> None:
        if self.connection is None or self._closed:
            return
        while self._arrived and not self._paused:
            self.connection.feed(self._arrived.popleft())
        if self._ended and not self._arrived:
            self.connection.closed()

    def pause_input(self) -> None:
        """Keep what arrives."""
        self._paused = True

    def resume_input(self) -> None:
        """Feed the connection again."""
        if self._paused:
            self._paused = False
            self.deliver()

    def fail(self, reason: str) -> None:
        """Send nothing any more."""
        self.failure = self.failure or reason

    def close(self) -> None:
        """Close this end; the other one sees that the input ends."""
        if not self._closed:
            self._closed = True
            self.other._ended = True
            self.other.deliver()


def pipe(near: Clock, far: Clock) -> tuple[PipeEnd, PipeEnd]:
    """The two ends of a new pipe."""
    ends = PipeEnd(near), PipeEnd(far)
    ends[0].other, ends[1].other = ends[1], ends[0]
    return ends

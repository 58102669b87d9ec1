"""What waits to be sent on a descriptor, until the peer takes it."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

HIGH_WATER: Final = 1 << 20
"""Bytes of unsent output above which its producer should stop."""

LOW_WATER: Final = 1 << 18
"""Bytes of unsent output below which the producer is told to go on."""

MOST_AT_ONCE: Final = 1 << 20
"""Bytes sent at a time."""

MOST_PIECES: Final = 64
"""Pieces of output sent at a time."""


class Output:
    """Bytes on their way into a descriptor, which leave at once when they can.

    :param fd: where they go; it does not block
    :param drained: called when they went below `LOW_WATER` after they had been above `HIGH_WATER`
    :param lost: called, from the loop, when nobody will read them any more
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        fd: int,
        drained: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._drained = drained
        self._lost = lost
        self._pieces: deque[bytes] = deque()
        self._sent_of_first = 0
        self._length = 0
        """Bytes of all pieces, with what has been sent of the first."""
        self.congested = False
        """Whether it passed `HIGH_WATER` and has not fallen below `LOW_WATER` since."""

    @property
    def backlog(self) -> int:
        """Bytes written and not yet sent."""
        return self._length - self._sent_of_first

    def write(self, data: bytes) -> None:
        """Send `data`, at once as far as the peer takes it."""
        if not self._pieces:
            short = len(data) <= MOST_AT_ONCE
            sent = self._send(data if short else memoryview(data)[:MOST_AT_ONCE])
            if sent == len(data):
                return
            self._sent_of_first = sent
            self._loop.add_writer(self._fd, self._writable)
        # a long one is not copied
        self._pieces.append(data)
        self._length += len(data)
        if self.backlog > HIGH_WATER:
            self.congested = True

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except OSError as error:
            return self._not_sent(error, len(data))

    def _not_sent(self, error: OSError, length: int) -> int:
        """How much of what could not be sent is to be kept no longer."""
        if isinstance(error, BlockingIOError | InterruptedError):
            return 0
        # the reader has gone: what it will not read needs no keeping
        self._loop.call_soon(self._lost)
        return length

    def _send_next(self) -> None:
        """Send of what waits as much as the peer takes, at most `MOST_AT_ONCE`."""
        pieces = self._pieces
        views = [memoryview(pieces[0])[self._sent_of_first :][:MOST_AT_ONCE]]
        room = MOST_AT_ONCE - len(views[0])
        for piece in islice(pieces, 1, MOST_PIECES):
            if len(piece) > room:
                break
            views.append(memoryview(piece))
            room -= len(piece)
        try:
            sent = os.writev(self._fd, views)
        except OSError as error:
            sent = self._not_sent(error, MOST_AT_ONCE - room)
        sent += self._sent_of_first
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces[0])
            self._length -= len(pieces.popleft())
        self._sent_of_first = sent

    def _writable(self) -> None:
        self._send_next()
        if not self._pieces:
            self._loop.remove_writer(self._fd)
        if self.congested and self.backlog < LOW_WATER:
            self.congested = False
            self._drained()

    def close(self, seconds: float) -> None:
        """Send no more.

        :param seconds: how long to wait for the peer to take what is left
        """
        if self._pieces:
            self._loop.remove_writer(self._fd)
            self._send_last(seconds)
        # whoever is told holds this: let go of him, so that nothing is left for the collector
        self._drained = self._lost = _tell_nobody

    def _send_last(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while self._pieces and (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
            self._send_next()
        self._pieces.clear()
        self._sent_of_first = self._length = 0


def _tell_nobody() -> None:
    """What is called when there is nobody to tell any more."""

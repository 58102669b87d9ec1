"""A channel whose bytes may be served as they arrive, with no task that is woken for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from qmpd.base.override import override
from qmpd.loop.stream import READ_AHEAD, Channel, GatheringPeer
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.stream import Peer

_SPARE: Final = 4
"""Areas that are kept for whoever needs one next."""


class Areas:
    """Memory that requests arrive in, lent to connections while they have a part of one.

    :param size: bytes of each area
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._spare: list[memoryview] = []

    def take(self) -> memoryview:
        """Borrow an area."""
        return self._spare.pop() if self._spare else memoryview(bytearray(self._size))

    def give(self, area: memoryview) -> None:
        """Give it back."""
        if len(self._spare) < _SPARE:
            self._spare.append(area)


class Answers(Protocol):
    """Serves requests."""

    needed: int
    """How many bytes the next request has, as far as is known: it is not all there yet.  0: others
    have their turn, or the client has to take what it was sent.  -1: the next request is not
    served here."""

    @property
    def possible(self) -> bool:
        """Whether requests can be served here now, such as there may be."""

    def __call__(self, data: bytes | memoryview) -> int:
        """Serve the requests that `data` begins with; `needed` says what keeps the next.

        :returns: how many bytes they had
        :raises Exception: the connection is to end
        """


class AnsweringChannel(Channel):
    """A channel that can also be left to `Answers`, which gather what they send.

    Bytes of requests then arrive in an area that is borrowed until all of it has been served;
    what a task of the usual kind has left over is served from where it is.

    :param areas: where areas come from; each has room for any request that is served so
    """

    def __init__(self, peer: Peer, clock: Clock, areas: Areas) -> None:
        super().__init__(peer, clock)
        self._gathers = peer if isinstance(peer, GatheringPeer) else None
        self._areas = areas
        self._area: memoryview | None = None
        self._begin = self._end = 0
        self._answers: Answers | None = None
        self._holds = False
        self._resigned = Waiter()
        self._failure: Exception | None = None

    async def answer(self, answers: Answers) -> None:
        """Have `answers` serve requests as they arrive, until one is to be served otherwise.

        :raises Exception: what it raises
        """
        if not answers.possible:
            return
        waiter = self._resigned = Waiter(direct=True)
        self._answers = answers
        self._go_on()
        try:
            await waiter
        finally:
            self._answers = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # What arrives

    @override
    def feed(self, data: bytes) -> None:
        answers = self._answers
        if answers is None:
            super().feed(data)
            return
        self._more.append(data)
        self._have += len(data)
        if self._holds:
            if self._have >= READ_AHEAD:
                self._pause()
        elif self._have >= answers.needed:
            self._go_on()
        else:
            self.wanted = answers.needed - self._have

    def buffer(self) -> memoryview | None:
        """Where the peer is to put bytes, whose number it tells by `received`.

        None: they are to be given to `feed`, unless input has just been paused.
        """
        if self._answers is None or self._have:
            return None
        if self._holds:
            self._pause()
            return None
        if self._area is None:
            self._area = self._areas.take()
        return self._area[self._end :]

    def received(self, count: int) -> None:
        """Bytes are in `buffer`."""
        self._end += count
        assert self._answers is not None
        if self._end - self._begin >= self._answers.needed:
            self._go_on()

    def _go_on(self) -> None:
        """Serve what has arrived."""
        answers, self._holds = self._answers, False
        if answers is None:
            return
        area = self._area
        data = self._take(self._have) if area is None else area[self._begin : self._end]
        try:
            taken = answers(data)
        except Exception as failure:
            self._failure = failure
            self._resign()
            return
        if area is not None:
            self._served(area, taken)
        elif isinstance(data, bytes) and taken < len(data) and not self._is_cut:
            self._input, self._offset, self._have = data, taken, len(data) - taken
        if answers.needed > 0:
            self._await_more(answers.needed)
        elif answers.needed < 0:
            self._resign()
        else:
            self._holds = True
            if not self.congested:
                self._clock.call_soon(self._go_on)

    def _served(self, area: memoryview, taken: int) -> None:
        """Keep what is left in the area, or give it back."""
        self._begin += taken
        if self._begin == self._end:
            self._return_area()

    def _return_area(self) -> None:
        area, self._area = self._area, None
        self._begin = self._end = 0
        if area is not None:
            self._areas.give(area)

    def _await_more(self, needed: int) -> None:
        if self._at_end:
            self._resign()
            return
        if self._area is not None and self._begin:
            left = self._end - self._begin
            self._area[:left] = self._area[self._begin : self._end]
            self._begin, self._end = 0, left
        self.wanted = needed - self._have
        if self._paused:
            self._paused = False
            self._peer.resume_input()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._peer.pause_input()

    def _resign(self) -> None:
        """Leave the next request, and what has arrived, to the task."""
        self._answers = None
        self.wanted = 0
        if self._area is not None:
            rest = bytes(self._area[self._begin : self._end])
            self._return_area()
            if not self._is_cut:
                self._more.append(rest)
                self._have += len(rest)
        self._resigned.wake()

    @override
    def drained(self) -> None:
        super().drained()
        if self._holds:
            self._go_on()

    @override
    def closed(self) -> None:
        self._at_end = True
        if self._answers is not None and not self._holds:
            self._resign()
        super().closed()

    @override
    def cut(self) -> None:
        self._holds = False
        super().cut()

    # What answers send

    @property
    def congested(self) -> bool:
        """Whether the client has yet to take what it was sent."""
        return self._peer.congested

    def write_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send pieces; they may be changed once this returns."""
        if self._is_cut:
            return
        if self._gathers is not None:
            self._gathers.write_parts(parts)
        else:
            self._peer.write(b"".join(parts))

    def send_file(self, head: bytes, fd: int, offset: int, length: int) -> int:
        """Send `head` and then bytes of a file; returns how many of all these have left."""
        if self._gathers is None or self._is_cut:
            return 0
        return self._gathers.send_file(head, fd, offset, length)

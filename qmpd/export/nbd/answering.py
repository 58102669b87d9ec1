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

_FEW: Final = 1 << 14
"""Bytes that have arrived, up to which they are moved elsewhere to wait there."""
_NOWHERE: Final = memoryview(b"")
_SPARE: Final = 4
"""Areas that are kept for whoever needs one next."""


class Areas:
    """Memory that requests arrive in, lent to connections while they have a part of one.

    :param size: bytes of each area
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._spare: list[memoryview] = []

    def look(self) -> memoryview:
        """The area that is to be borrowed next; others may put something there meanwhile."""
        if not self._spare:
            self._spare.append(memoryview(bytearray(self._size)))
        return self._spare[-1]

    def take(self) -> memoryview:
        """Borrow an area."""
        area = self.look()
        self._spare.pop()
        return area

    def give(self, area: memoryview) -> None:
        """Give it back, or what has been kept of one."""
        if len(self._spare) < _SPARE and len(area) == self._size:
            self._spare.append(area)


class Answers(Protocol):
    """Serves requests."""

    needed: int
    """How many bytes the next request has, as far as is known: it is not all there yet.  0: others
    have their turn, or the client has to take what it was sent.  -1: the next request is not
    served here."""

    unit: int
    """How many bytes the last request had, if it was long: the next ones may be like it."""

    @property
    def possible(self) -> bool:
        """Whether requests can be served here now, such as there may be."""

    def __call__(self, data: bytes | memoryview) -> int:
        """Serve the requests that `data` begins with; `needed` says what keeps the next.

        :returns: how many bytes they had
        :raises Exception: the connection is to end
        """


class Output(Protocol):
    """Where replies go."""

    @property
    def congested(self) -> bool:
        """Whether the client has yet to take what it was sent."""

    def write_parts(self, parts: Sequence[bytes | memoryview], size: int, *, lasting: bool) -> None:
        """Send pieces of so many bytes in all.

        :param lasting: whether none of them changes after this has returned
        """

    def send_file(self, head: bytes, fd: int, offset: int, length: int) -> int:
        """Send `head` and then bytes of a file, as many as the client takes at once.

        :returns: how many of all these bytes have left
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
        self._lent = _NOWHERE
        """What `buffer` has told last, where that is no area of its own."""
        self._begin = self._end = 0
        self._is_kept = False
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
        area, unit = self._area, self._answers.unit
        try:
            if unit:
                # no more than one request, so that nothing of the next has to be moved
                until = self._begin + max(unit, self._answers.needed)
                if area is None:
                    self._lent = area = self._areas.look()
                return area[self._end : until]
            if area is None:
                self._lent = lent = self._areas.look()
                return lent
            return area[self._end :]
        except MemoryError:
            # it comes in pieces, then
            self._clock.no_memory()
            return None

    def received(self, count: int) -> None:
        """Bytes are in `buffer`."""
        answers = self._answers
        assert answers is not None
        if self._area is None:
            taken = 0
            lent, self._lent = self._lent, _NOWHERE
            try:
                if count >= answers.needed:
                    try:
                        taken = answers(lent[:count])
                    except Exception as failure:
                        self._fail(answers, failure)
                    if taken == count and answers.needed > 0 and not self._at_end:
                        self.wanted = answers.needed
                        return
                if taken < count:
                    self._area = self._areas.take()
                    self._begin, self._end = taken, count
                if count >= answers.needed:
                    self._after(answers)
            except MemoryError as failure:
                self._starve(failure)
            return
        self._end += count
        if self._end - self._begin >= answers.needed:
            self._go_on()

    def _serve_now(self, answers: Answers, data: bytes | memoryview) -> int:
        """Serve requests; returns how many bytes they had."""
        try:
            return answers(data)
        except Exception as failure:
            self._fail(answers, failure)
            return 0

    def _fail(self, answers: Answers, failure: Exception) -> None:
        """The task ends the connection."""
        self._failure = failure
        answers.needed = -1

    def _starve(self, failure: MemoryError) -> None:
        """There is no memory to go on with: the task ends the connection."""
        self._clock.no_memory()
        self._holds = False
        self._return_area()
        self.drop_input()
        self._failure = self._failure or failure
        self._resign()

    def _go_on(self) -> None:
        """Serve what has arrived."""
        answers, self._holds = self._answers, False
        if answers is None:
            return
        try:
            self._serve_arrived(answers)
        except MemoryError as failure:
            self._starve(failure)

    def _serve_arrived(self, answers: Answers) -> None:
        area = self._area
        if area is not None:
            self._begin += self._serve_now(answers, area[self._begin : self._end])
            if self._begin == self._end:
                self._return_area()
        else:
            data = self._take(self._have)
            taken = self._serve_now(answers, data)
            if taken < len(data) and not self._is_cut:
                self._input, self._offset, self._have = data, taken, len(data) - taken
        self._after(answers)

    def _after(self, answers: Answers) -> None:
        """Do what `answers` wants next."""
        if answers.needed > 0:
            self._await_more(answers.needed)
        elif answers.needed < 0:
            self._resign()
        else:
            self._holds = True
            if self._end - self._begin <= _FEW:
                self._move(kept=True)
            if not self.congested:
                self._clock.call_soon(self._go_on)

    def _return_area(self) -> None:
        area, self._area = self._area, None
        self._begin = self._end = 0
        self._is_kept = False
        if area is not None:
            self._areas.give(area)

    def _await_more(self, needed: int) -> None:
        if self._at_end:
            self._resign()
            return
        if self._begin or self._is_kept:
            self._move(kept=False)
        self.wanted = needed - self._have
        if self._paused:
            self._paused = False
            self._peer.resume_input()

    def _move(self, *, kept: bool) -> None:
        """Move what has not been served to the beginning of an area.

        :param kept: whether it is to wait there, in as much memory as it needs, and the area that
            it has come in is given back
        """
        area = self._area
        if area is None or (kept and self._is_kept):
            return
        rest = area[self._begin : self._end]
        if kept:
            self._area = memoryview(bytearray(rest))
        else:
            if self._is_kept:
                self._area = self._areas.take()
            assert self._area is not None
            self._area[: len(rest)] = rest
        self._begin, self._end = 0, len(rest)
        if self._area is not area:
            self._areas.give(area)
        self._is_kept = kept

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._peer.pause_input()

    def _resign(self) -> None:
        """Leave the next request, and what has arrived, to the task."""
        self._answers = None
        self.wanted = 0
        if self._area is not None:
            rest = self._rest(self._area[self._begin : self._end])
            self._return_area()
            if not self._is_cut:
                self._more.append(rest)
                self._have += len(rest)
        self._resigned.wake()

    def _rest(self, area: memoryview) -> bytes:
        """The bytes of an area that is about to be given back."""
        try:
            return bytes(area)
        except MemoryError:
            self._clock.no_memory()
        try:
            return bytes(area)
        except MemoryError as failure:
            self._failure = self._failure or failure
            return b""

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
    def output(self) -> Output:
        """Where they send it."""
        return self if self._gathers is None else self._gathers

    @property
    def congested(self) -> bool:
        """Whether the client has yet to take what it was sent."""
        return self._peer.congested

    def write_parts(self, parts: Sequence[bytes | memoryview], size: int, *, lasting: bool) -> None:
        """Send pieces of so many bytes in all.

        :param lasting: whether none of them changes after this has returned
        """
        if not self._is_cut:
            self._peer.write(b"".join(parts))

    def send_file(self, head: bytes, fd: int, offset: int, length: int) -> int:
        """Send nothing: a file's bytes are to be given to `write_parts`."""
        return 0

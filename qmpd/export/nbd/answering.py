"""A channel whose bytes may be served as they arrive, with no task that is woken for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from qmpd.base.override import override
from qmpd.loop.stream import READ_AHEAD, Channel, GatheringPeer
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.stream import Peer


class Answers(Protocol):
    """Serves requests."""

    needed: int
    """How many bytes the next request has, as far as is known: it is not all there yet.  0: others
    have their turn, or the client has to take what it was sent.  -1: the next request is not
    served here."""

    @property
    def possible(self) -> bool:
        """Whether requests can be served here now, such as there may be."""

    def __call__(self, data: bytes) -> int:
        """Serve the requests that `data` begins with; `needed` says what keeps the next.

        :returns: how many bytes they had
        :raises Exception: the connection is to end
        """


class AnsweringChannel(Channel):
    """A channel that can also be left to `Answers`, which gather what they send."""

    def __init__(self, peer: Peer, clock: Clock) -> None:
        super().__init__(peer, clock)
        self._gathers = peer if isinstance(peer, GatheringPeer) else None
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

    @override
    def feed(self, data: bytes) -> None:
        answers = self._answers
        if answers is None:
            super().feed(data)
            return
        self._more.append(data)
        self._have += len(data)
        if self._holds:
            if self._have >= READ_AHEAD and not self._paused:
                self._paused = True
                self._peer.pause_input()
        elif self._have >= answers.needed:
            self._go_on()
        else:
            self.wanted = answers.needed - self._have

    def _go_on(self) -> None:
        """Serve what has arrived."""
        answers, self._holds = self._answers, False
        if answers is None:
            return
        data = self._take(self._have)
        try:
            taken = answers(data)
        except Exception as failure:
            self._failure = failure
            self._resign()
            return
        if taken < len(data) and not self._is_cut:
            self._input, self._offset, self._have = data, taken, len(data) - taken
        if answers.needed > 0:
            self._await_more(answers.needed)
        elif answers.needed < 0:
            self._resign()
        else:
            self._holds = True
            if not self.congested:
                self._clock.call_soon(self._go_on)

    def _await_more(self, needed: int) -> None:
        if self._at_end:
            self._resign()
            return
        self.wanted = needed - self._have
        if self._paused:
            self._paused = False
            self._peer.resume_input()

    def _resign(self) -> None:
        self._answers = None
        self.wanted = 0
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

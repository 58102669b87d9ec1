"""Requests to files, and the completions by which the main loop hears that they have ended.

QEMU hands a request to its thread pool.  The coroutine that made it waits, and whatever else is
due has its turn, until a bottom half reports what has been completed meanwhile
(``thread_pool_completion_bh``).  qmpd reads and writes a file where the request is made, so only
the report is left: a driver of files says that it has made a request (`Completions.submit`), and
whoever made it from a coroutine of the main loop, such as a job, waits for the report
(`Completions.of`).  A request that nobody waits for in this way is over at once, as those are
that QEMU itself polls for (AIO_WAIT_WHILE).  Where time is real, long requests of jobs are
handed to threads here as well (`Completions.run`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from qmpd.base.override import override
from qmpd.loop.apart import Midway
from qmpd.loop.file_threads import FileThreads, in_thread
from qmpd.loop.marks import Patient, Watch
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.loop.order import Order
    from qmpd.loop.task import Callback

T = TypeVar("T")

REQUEST_TIME: Final = 100_000
"""Nanoseconds that a request to a file takes in real time."""

LONG: Final = 128 << 10
"""Bytes from which on a request is better made by a thread; below that, handing it over is slow."""

VERY_LONG: Final = 4 << 20
"""Bytes from which on a thread makes what is requested `patiently`, and of a step in memory."""

STRETCH: Final = 4_000_000
"""Nanoseconds of work that is done `patiently` after which others have their turn."""

REQUEST_ROUNDS: Final = 3
"""Rounds of the loop that a monitor's request takes when it is not alone, answer included."""


class Loop(Protocol):
    """What reports completions: a `qmpd.loop.clock.Clock`."""

    order: Order
    monitors_due: int

    def call_soon(self, callback: Callback, /) -> None:
        """Call `callback` as soon as what runs now has returned."""


class Completions:
    """The requests to files of one machine whose completions have yet to be reported.

    A request takes no time here.  It is handed over in the loop's next round and its completion is
    reported in the one after that, so that a command that has led to it is answered first, and
    what needs no file gets on faster.  A subclass says otherwise by `ended`.

    :param loop: the main loop
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.submitted = 0
        """How many requests have been made, but for those that threads make."""
        self.watched = False
        """Whether what runs now is a request that somebody waits for by `of`."""
        self.buffers: list[memoryview] = []
        """Spare ones for work that may be done in threads; whoever takes one puts it back."""
        self.patient = False
        """Whether what runs now is a request that is made by `patiently`."""
        self._rested = 0
        """When others have had their turn, as far as what is done `patiently` knows."""
        self.waits_for_disk = 0
        """How many syncs threads are at that are made `patiently`."""
        self._polls = False
        self._new: list[Waiter] = []
        self.under_way: deque[Waiter] = deque()
        """Who waits for the completions that have yet to be reported, the first request first."""

    def submit(self) -> None:
        """Take note that a request to a file has been made."""
        self.submitted += 1

    @property
    def threads(self) -> FileThreads | None:
        """Who makes long requests, if threads may make them now."""
        return None

    async def run(self, files: tuple[object, ...], work: Callable[[], T], length: int) -> T:
        """Make a request to a file.

        A thread makes a long one for `of`, and a very long one for `patiently`.

        :param files: what is asked, for `join`
        :param work: makes the request, and is allowed to take its time
        :param length: how many bytes it is about
        :raises Exception: whatever `work` raises
        """
        threads = None if length < LONG or not self.watched else self.threads
        if threads is None:
            if length >= VERY_LONG and self.patient and self.threads is not None:
                return await self._run_patiently(self.threads, files, work)
            self.submit()
            return work()
        waiter = Waiter(direct=True)

        def made() -> None:
            self._made(waiter)
            self.poll()

        return await in_thread(threads, files, work, waiter, made)

    async def ahead(
        self, files: tuple[object, ...], work: Callable[[], None], waiter: Waiter
    ) -> None:
        """Have a thread do what does not change anything that is seen, if there are threads.

        :param waiter: what the caller waits for meanwhile
        """
        threads = self.threads
        if threads is not None:
            threads.run(files, work, lambda _: waiter.wake())
            await waiter

    async def sync(self, file: object, work: Callable[[], None]) -> None:
        """Make what was written to a file stable; a thread does so for `of` and `patiently`.

        :param work: does it, and is allowed to take its time
        :raises Exception: whatever `work` raises
        """
        threads = self.threads if self.patient else None
        if threads is None:
            await self.run((file,), work, LONG)
            return
        await self._run_patiently(threads, (file,), work)

    async def _run_patiently(
        self, threads: FileThreads, files: tuple[object, ...], work: Callable[[], T]
    ) -> T:
        waiter = Midway(direct=True)
        self.waits_for_disk += 1
        try:
            return await in_thread(threads, files, work, waiter, waiter.wake)
        finally:
            self.waits_for_disk -= 1

    async def rest(self) -> None:
        """Let others have their turn, if what runs now is done `patiently` and has taken long."""
        if not self.patient or self.threads is None:
            return
        if time.monotonic_ns() - self._rested < STRETCH:
            return
        waiter = Midway(direct=True)
        self._loop.call_soon(waiter.wake)
        await waiter
        self._rested = time.monotonic_ns()

    def patiently(self, request: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Make a request whose maker lets others have their turn while a disk is slow.

        Commands wait for one that does so as they do for any other.
        """
        if self.threads is None:
            return request
        self._rested = time.monotonic_ns()
        return Patient(self, request)

    def join(self, file: object) -> None:
        """Wait until nobody is at work on `file`, which is about to be closed."""

    async def of(self, request: Coroutine[Any, Any, T]) -> T:
        """Make a request; if it gets as far as a file, return once its completion is reported.

        What caches or the tables of an image answer has no completion.

        :raises Exception: whatever the request raises, after its completion as well
        """
        watch = Watch(self, request)
        try:
            result = await watch
        except Exception:
            if watch.reached_file:
                await self.report()
            raise
        if watch.reached_file:
            await self.report()
        return result

    async def report(self) -> None:
        """Wait until the completion of a request that was made just now is reported."""
        waiter = Waiter(direct=True)
        self.began(waiter)
        self.poll()
        await waiter

    def poll(self) -> None:
        """Look in each round of the loop for what has ended, while anything is left."""
        if not self._polls:
            self._loop.call_soon(self._poll)
            self._polls = True

    def _poll(self) -> None:
        """Report what has ended (``thread_pool_completion_bh``), each round while any is left."""
        new, self._new = self._new, []
        chosen = self._loop.order.completed(len(self.under_way) + len(new))
        if chosen is not None:
            self.under_way.extend(new)
            ended: Iterable[Waiter] = self._take(chosen)
        else:
            ended = self.ended() if self.under_way else ()
            self.under_way.extend(new)
        for waiter in ended:
            waiter.wake()
        self._polls = bool(self.under_way or self._new)
        if self._polls:
            self._loop.call_soon(self._poll)

    def stop(self) -> None:
        """Report none of those that are under way."""
        self.under_way.clear()
        self._new.clear()

    def began(self, waiter: Waiter) -> None:
        """Take a request that has been made."""
        self._new.append(waiter)

    def _made(self, waiter: Waiter) -> None:
        """Take a request that a thread has made."""
        self.began(waiter)

    @property
    def expected(self) -> bool:
        """Whether any are still to be reported."""
        return self._polls

    def bottom_half(self) -> None:
        """Report those that have been chosen to be reported now."""
        self.under_way.extend(self._new)
        self._new.clear()
        for waiter in self._take(self._loop.order.completed(len(self.under_way)) or ()):
            waiter.wake()

    def _take(self, chosen: Sequence[int]) -> list[Waiter]:
        ended = [self.under_way[number] for number in chosen]
        self.under_way = deque(waiter for waiter in self.under_way if waiter not in ended)
        return ended

    def ended(self) -> Iterable[Waiter]:
        """Take those from `under_way` whose completions are reported in this round, in order."""
        ended, self.under_way = self.under_way, deque()
        return ended


class RealTimeCompletions(Completions):
    """Requests take `REQUEST_TIME`, and each round of the loop reports one of them.

    Timers of event loops are too coarse for that, so the loop is polled meanwhile, as QEMU's is.
    That there is one a round lets monitors have their say between the copies of a job.  While a
    monitor's request goes through its rounds nothing is reported, so that it waits for one copy at
    most; what has been put off for as long as one request takes is reported all the same.

    Long requests are made by threads, and have ended when their thread has.  Those whose order is
    chosen are not.

    :param call_in_loop: runs a callback in the main loop; may be called from any thread
    """

    def __init__(self, loop: Loop, call_in_loop: Callable[[Callable[[], None]], object]) -> None:
        super().__init__(loop)
        self._ends: dict[Waiter, int] = {}
        self._threads = FileThreads(call_in_loop)
        self._put_off = 0

    @property
    @override
    def threads(self) -> FileThreads | None:
        return None if self._loop.order.chooses else self._threads

    @override
    def _made(self, waiter: Waiter) -> None:
        self._ends[waiter] = 0
        self.under_way.appendleft(waiter)

    @override
    def join(self, file: object) -> None:
        self._threads.join(file)

    @override
    def stop(self) -> None:
        super().stop()
        self._ends.clear()
        self._threads.stop()

    @override
    def began(self, waiter: Waiter) -> None:
        super().began(waiter)
        # Who is patient is a command, inside of which QEMU polls until the request has ended.
        self._ends[waiter] = 0 if self.patient else time.monotonic_ns() + REQUEST_TIME

    @override
    def ended(self) -> Iterable[Waiter]:
        if self._ends[self.under_way[0]] > time.monotonic_ns():
            return ()
        if self._loop.monitors_due and self._put_off < REQUEST_ROUNDS:
            self._put_off += 1
            return ()
        self._put_off = 0
        waiter = self.under_way.popleft()
        del self._ends[waiter]
        return (waiter,)

    @override
    def _take(self, chosen: Sequence[int]) -> list[Waiter]:
        taken = super()._take(chosen)
        for waiter in taken:
            del self._ends[waiter]
        return taken

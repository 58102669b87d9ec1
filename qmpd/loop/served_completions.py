"""Requests to files of a machine that is served at times, and by its program else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from qmpd.base.override import override
from qmpd.loop.completions import LONG, Completions
from qmpd.loop.paced_clock import Pace
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.loop.apart import ApartInThread
    from qmpd.loop.file_threads import FileThreads, ThreadRequest
    from qmpd.loop.paced_clock import PacedClock

T = TypeVar("T")


class ServedCompletions(Completions):
    """Threads make long requests while an event loop runs the machine, where its time is real.

    Everywhere else a request takes no time, so that the order of events does not depend on threads.

    :param clock: the main loop
    :param apart: whose threads make them
    """

    def __init__(self, clock: PacedClock, apart: ApartInThread) -> None:
        super().__init__(clock)
        self._clock = clock
        self._apart = apart

    @property
    def _threads(self) -> FileThreads | None:
        real = self._clock.pace is Pace.REAL and not self._clock.order.chooses
        return self._apart.files if real else None

    @property
    @override
    def may_use_threads(self) -> bool:
        return self._threads is not None

    @override
    async def run(self, files: tuple[object, ...], work: Callable[[], T], length: int) -> T:
        threads = self._threads
        if length < LONG or not self.watched or threads is None:
            return await super().run(files, work, length)
        waiter = Waiter(direct=True)
        ended: list[ThreadRequest] = []

        def report(request: ThreadRequest) -> None:
            ended.append(request)
            self.began(waiter)
            self.poll()

        threads.run(files, work, report)
        await waiter
        result: T = ended[0].result()
        return result

    @override
    async def ahead(
        self, files: tuple[object, ...], work: Callable[[], None], waiter: Waiter
    ) -> None:
        threads = self._threads
        if threads is not None:
            threads.run(files, work, lambda _: waiter.wake())
            await waiter

    @override
    def join(self, file: object) -> None:
        if self._apart.files is not None:
            self._apart.files.join(file)

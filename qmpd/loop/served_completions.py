"""Requests to files of a machine that is served at times, and by its program else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.loop.completions import Completions
from qmpd.loop.paced_clock import Pace

if TYPE_CHECKING:
    from qmpd.loop.apart import ApartInThread
    from qmpd.loop.file_threads import FileThreads
    from qmpd.loop.paced_clock import PacedClock


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
    @override
    def threads(self) -> FileThreads | None:
        real = self._clock.pace is Pace.REAL and not self._clock.order.chooses
        return self._apart.files if real else None

    @override
    def join(self, file: object) -> None:
        if self._apart.files is not None:
            self._apart.files.join(file)

"""How a program waits for its machine: for events, and for jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.api.events import EventQueue, Watch, any_of
from qmpd.api.jobs import JobRecords
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.task import Handle
from qmpd.sim import time
from qmpd.sim.match import Event, Match

if TYPE_CHECKING:
    from qmpd.loop.paced_clock import PacedClock


WAIT: Final = 60.0
"""Seconds that a wait lasts unless it is said otherwise, as in `qemu.machine`."""


class Waits:
    """What a machine's program waits for, as coroutines."""

    clock: PacedClock

    def __init__(self) -> None:
        self.events = EventQueue()
        """Events that the program has not taken."""
        self.jobs = JobRecords()
        """What events have told of jobs."""
        self.call_after: Callable[[float, Callable[[], None]], Handle] = self.call_after_clock
        """Sets a timer of so many seconds for a program that waits."""

    async def qmp(self, command: str, arguments: Mapping[str, Any] | None) -> Any:
        """Send a command: see `Core.qmp`."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether the machine has ended."""
        raise NotImplementedError

    def require_open(self) -> None:
        """Check that the machine has not ended: see `Core.require_open`."""
        raise NotImplementedError

    async def events_wait(
        self, events: Iterable[tuple[str, Match]], timeout: float | None
    ) -> Event | None:
        """Take the first event of those that match, waiting for it if need be.

        :param timeout: seconds of the machine's clock, 0 not to wait, None for no limit
        :raises TimeoutError: it does not come in time
        """
        wanted = list(events)
        wants = any_of(wanted)
        found = self.events.take(wants)
        if found is not None or timeout == 0:
            return found
        self.require_open()
        names = " or ".join(name for name, _ in wanted)
        return await self._see(self.events.watch(wants), timeout, f"event {names}")

    async def until(self, name: str, match: Match, limit: int) -> Event:
        """Take the first event that matches, letting time pass until it comes.

        :param limit: nanoseconds of the machine's clock
        :raises TimeoutError: it does not come in time
        :raises WaitsForever: nothing is left to be done that could send it
        """
        wants = any_of([(name, match)])
        found = self.events.take(wants)
        if found is not None:
            return found
        self.require_open()
        watch = self.events.watch(wants)
        try:
            await time.until(self.clock, watch.waiter, limit, f"event {name}")
        finally:
            self.events.unwatch(watch)
        assert watch.event is not None
        return watch.event

    async def any_event(self, timeout: float | None) -> Event | None:
        """Wait for the next event and take it.

        :raises TimeoutError: none comes in time
        """
        self.require_open()
        return await self._see(self.events.watch(lambda _: True), timeout, "an event")

    async def job_wait(self, job_id: str, statuses: Iterable[str], timeout: float | None) -> str:
        """Wait until a job has one of `statuses`, or has ended; returns its status then.

        :raises LookupError: there never was such a job
        :raises TimeoutError: it takes longer
        """
        record = self.jobs.find(job_id)
        ends = {*statuses, "concluded", "null"}
        if record.status not in ends:
            watch = self.events.watch(lambda _: record.status in ends, takes=False)
            await self._see(watch, timeout, f"job '{job_id}', which is {record.status}")
        if record.status == "concluded" and not self.closed:
            # one that does not stay has gone by the time of an answer
            await self.qmp("query-jobs", None)
        return record.status

    def call_after_clock(self, seconds: float, callback: Callable[[], None]) -> Handle:
        """Set a timer of the machine's clock."""
        return self.clock.call_later(round(seconds * NANOSECONDS), callback)

    async def _see(self, watch: Watch, timeout: float | None, what: str) -> Event | None:
        timer = None
        if timeout is not None:
            timer = self.call_after(timeout, watch.waiter.wake)
        try:
            await watch.waiter
        finally:
            self.events.unwatch(watch)
            if timer is not None:
                timer.cancel()
        if watch.event is None:
            raise TimeoutError(f"waited {timeout} s for {what}")
        return watch.event

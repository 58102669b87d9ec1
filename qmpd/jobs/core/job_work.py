"""The work of a job: a coroutine that is suspended and entered (``job_yield``, ``job_enter``).

The work calls `sleep`, `idle` or `pause_point` where it may be suspended; everywhere else it is
busy, and what a client asks for takes effect at the next such point.  A verb enters suspended work
at once: its events are sent before the verb's reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.jobs.core.states import TRANSITIONS, JobStatus
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.jobs.core.protocols import Listing
    from qmpd.loop.task import Handle, Task


class JobWork:
    """A job, as far as its state and the coroutine that does its work are concerned.

    :param table: the list of jobs that it belongs to
    :param job_id: its id
    """

    def __init__(self, table: Listing, job_id: str) -> None:
        self.table = table
        self.id = job_id
        self.status = JobStatus.UNDEFINED
        self.busy = False
        self.paused = True
        self.pause_count = 1
        self.cancelled = False
        self._task: Task | None = None
        self._timer: Handle | None = None
        self._work_ended = False
        self._watchers: list[Waiter] = []

    # State

    @property
    def started(self) -> bool:
        """Whether the work has begun."""
        return self._task is not None

    @property
    def work_ended(self) -> bool:
        """Whether `run` has returned."""
        return self._work_ended

    def move(self, status: JobStatus) -> None:
        """Change the state and emit JOB_STATUS_CHANGE, unless the state is the same."""
        assert status in TRANSITIONS[self.status], (self, status)
        if status is not self.status:
            self.status = status
            self.table.emit("JOB_STATUS_CHANGE", {"id": self.id, "status": status.value})
        self._notify()

    # For the work: where it may stand still

    async def sleep(self, delay: int) -> None:
        """Sleep for `delay` nanoseconds or until a verb enters the job; then a pause point.

        :param delay: 0 or less only yields to others
        """
        await self._wait(max(delay, 0))

    async def _wait(self, delay: int | None) -> None:
        if self.cancelled:
            return
        if self.pause_count == 0:
            await self._stand_still(delay)
        await self.pause_point()

    async def idle(self) -> None:
        """Suspend the work until a verb enters the job; then a pause point."""
        await self._wait(None)

    async def pause_point(self) -> None:
        """Suspend the work here while the job is paused (job_pause_point)."""
        if self.pause_count == 0 or self.cancelled:
            return
        before = self.status
        self.move(JobStatus.STANDBY if before is JobStatus.READY else JobStatus.PAUSED)
        self.paused = True
        await self._stand_still(None)
        self.paused = False
        self.move(before)

    def enter(self, condition: Callable[[], bool] | None = None) -> None:
        """Resume suspended work (if `condition` holds) until it waits again."""
        if self._task is None or self._work_ended or self.busy:
            return
        if condition is not None and not condition():
            return
        self._stop_timer()
        self.busy = True
        self._task.step()

    @property
    def sleeping(self) -> bool:
        """Whether the work sleeps."""
        return self._timer is not None

    async def _stand_still(self, delay: int | None) -> None:
        if delay is not None:
            self._timer = self.table.clock.call_later(delay, self._timer_expired)
        self.busy = False
        self._notify()
        # Only `enter` goes on from here; nobody wakes this waiter.
        await Waiter()

    def _timer_expired(self) -> None:
        self._timer = None
        self.enter()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Pausing

    def pause(self) -> None:
        """Suspend the work at its next pause point; pauses are counted."""
        self.pause_count += 1
        if not self.paused and not self.table.manners.pauses_do_not_wake:
            self.enter()

    def resume(self) -> None:
        """Undo one `pause`."""
        assert self.pause_count > 0
        self.pause_count -= 1
        if self.pause_count == 0:
            self.enter(lambda: not self.sleeping)

    # For those who wait for it

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.enter()
            if condition():
                return
            await self.watch()

    def watch(self) -> Waiter:
        """A waiter for the next change of state or the next suspension of the work."""
        waiter = Waiter()
        self._watchers.append(waiter)
        return waiter

    def _notify(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.wake()

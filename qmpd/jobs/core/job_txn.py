"""Jobs that complete together: a job transaction.

Every job belongs to one, most of them as the only member.  Jobs that finish wait until
all members have finished, then all become pending and are finalized together; if one
fails or is cancelled, all others are cancelled.  All loops go from the newest
member to the oldest, like QLIST_FOREACH over JobTxn.jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qmpd.base.newest_first import NewestFirst
from qmpd.jobs.core.states import JobStatus
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.jobs.core.protocols import Member


class JobTxn:
    """The members that complete together.

    `jobs` are those that have not been finalized yet.
    """

    def __init__(self) -> None:
        self.jobs: NewestFirst[Member] = NewestFirst()
        self._aborting = False
        self._sweeps = 0
        self._sweep_waiters: list[Waiter] = []

    def add(self, job: Member) -> None:
        """Add a new job; the members must not be ending yet."""
        assert not self._aborting
        self.jobs.add(job)

    async def sweep_ended(self) -> None:
        """Wait for the end of a loop over the members that is in progress."""
        while self._sweeps:
            waiter = Waiter()
            self._sweep_waiters.append(waiter)
            await waiter

    async def succeeded(self, job: Member) -> None:
        """`job` has done its work: wait for the others, or end all (job_completed_txn_success)."""
        job.move(JobStatus.WAITING)
        if any(not other.completed for other in self.jobs):
            return
        for other in list(self.jobs):
            other.move(JobStatus.PENDING)
            if not other.auto_finalize:
                other.emit_pending()
        if all(other.auto_finalize for other in self.jobs):
            await self.finalize(job)

    async def finalize(self, job: Member) -> None:
        """End all members; `job` is the one that was finalized (job_do_finalize).

        If one of them fails in prepare, all are aborted.
        """
        with self._sweeping():
            for other in list(self.jobs):
                if not await other.prepare_end():
                    await self.abort(other)
                    return
            for other in list(self.jobs):
                await other.end()

    async def abort(self, job: Member) -> None:
        """Cancel the others and end all: `job` has failed (job_completed_txn_abort)."""
        if self._aborting:
            return
        self._aborting = True
        with self._sweeping():
            for other in self.jobs:
                if other is not job:
                    other.request_cancel(force=True)
            while self.jobs:
                await self.jobs[0].until_completed()
                await self.jobs[0].end()

    @contextmanager
    def _sweeping(self) -> Iterator[None]:
        """A loop over the members, for which `sweep_ended` waits."""
        self._sweeps += 1
        try:
            yield
        finally:
            self._sweeps -= 1
            if not self._sweeps:
                waiters, self._sweep_waiters = self._sweep_waiters, []
                for waiter in waiters:
                    waiter.wake()

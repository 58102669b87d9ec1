"""Jobs that complete together: a job transaction.

Every job belongs to one; most are its only member.  Jobs that finish wait until
all members have, then all become pending and are finalized together; when one
fails or is cancelled all others are cancelled.  All sweeps go from the newest
member to the oldest, as in QEMU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qmpd.base.newest_first import NewestFirst
from qmpd.jobs.core.states import JobStatus
from qmpd.loop.clock import Waiter

if TYPE_CHECKING:
    from qmpd.jobs.core.protocols import Member


class JobTxn:
    """Members that complete together.

    `jobs` are those that have not been finalized yet.
    """

    def __init__(self) -> None:
        self.jobs: NewestFirst[Member] = NewestFirst()
        self._aborting = False
        self._sweeps = 0
        self._settling: list[Waiter] = []

    def add(self, job: Member) -> None:
        """Let a new job take part; not when the others are being ended."""
        assert not self._aborting
        self.jobs.add(job)

    async def settled(self) -> None:
        """Wait for the end of a sweep that is under way."""
        while self._sweeps:
            waiter = Waiter()
            self._settling.append(waiter)
            await waiter

    async def succeeded(self, job: Member) -> None:
        """`job` has finished its work: wait for the others, or go on with all of them."""
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
        """End all members; `job` is the one that was told to.

        When one of them fails even now, all are aborted.
        """
        with self._sweeping():
            for other in list(self.jobs):
                if not await other.prepare_end():
                    await self.abort(other)
                    return
            for other in list(self.jobs):
                await other.end()

    async def abort(self, job: Member) -> None:
        """`job` has failed or was cancelled: cancel all others, and end all."""
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
        """Within, `settled` waits."""
        self._sweeps += 1
        try:
            yield
        finally:
            self._sweeps -= 1
            if not self._sweeps:
                settling, self._settling = self._settling, []
                for waiter in settling:
                    waiter.wake()

"""backup: copies a disk as it was when the job was started.

A copy-before-write filter above the source copies what guests are about to overwrite; the job
copies the rest.  Both share one `BlockCopyState`, so that nothing is copied twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qmpd.base.override import override
from qmpd.block.bits.successor import abdicate, reclaim
from qmpd.block.change.closing import release
from qmpd.block.change.insert import drop_filter
from qmpd.block.drivers.filters.backup_top import BackupTop
from qmpd.block.drivers.filters.copy_before_write import CopyBeforeWrite
from qmpd.block.io.block_copy import BlockCopyState, CopyFailed
from qmpd.block.io.block_copy_call import MAX_WORKERS, block_copy
from qmpd.block.model.failure import failure_of
from qmpd.errors import BlockIOError
from qmpd.jobs.core.block_job import BlockJob
from qmpd.jobs.core.states import ErrorAction, OnError
from qmpd.loop.rate_limit import RateLimit
from qmpd.loop.task import Task, Waiter

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.job_txn import JobTxn
    from qmpd.jobs.core.options import JobOptions
    from qmpd.jobs.core.protocols import Listing


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What a backup copies, and how it does so.

    `sync`: full, top, none or bitmap.  `bitmap`: the bitmap that is used or updated, as
    `bitmap_mode` (on-success, never, always) says.  `max_chunk`: bytes of the longest request,
    0 for no limit.  `max_workers`: number of requests in parallel.
    """

    sync: str
    bitmap: DirtyBitmap | None = None
    bitmap_mode: str = "never"
    compress: bool = False
    max_chunk: int = 0
    max_workers: int = MAX_WORKERS
    on_source_error: OnError = OnError.REPORT
    on_target_error: OnError = OnError.REPORT


class _Speed:
    """The speed limit of a backup's own requests (`CopyLimit`)."""

    def __init__(self, job: BackupJob) -> None:
        self._job = job
        self.limit = RateLimit()
        self._sleeping: Waiter | None = None

    def may_go(self, length: int) -> bool:
        """Whether a request of `length` bytes may begin; if so, it is counted."""
        now = self._job.table.clock.now()
        if self.limit.delay(now):
            return False
        self.limit.delay(now, length)
        return True

    async def wait(self) -> None:
        """Wait until the next request may begin, or until `kick`."""
        clock = self._job.table.clock
        waiter = self._sleeping = Waiter(direct=True)
        timer = clock.call_later(self.limit.delay(clock.now()), waiter.wake)
        await waiter
        timer.cancel()
        self._sleeping = None

    def kick(self) -> None:
        """Check again whether the next request may begin."""
        if self._sleeping is not None:
            self._sleeping.wake()


class _Call:
    """One run over the whole disk."""

    def __init__(self, job: BackupJob) -> None:
        self._job = job
        self.cancelled = False
        self.failure: CopyFailed | None = None
        self.done = False
        self._waiter: Waiter | None = None
        job.table.clock.enter(self._copy(), f"job {job.id}: copy", self._ended)

    async def _copy(self) -> None:
        job = self._job
        cluster = job.copy.cluster_size
        await block_copy(
            job.copy,
            0,
            -(-job.length // cluster) * cluster,
            max_chunk=job.plan.max_chunk,
            max_workers=job.plan.max_workers,
            limit=job.pace,
            cancelled=lambda: self.cancelled,
        )

    def _ended(self, task: Task) -> None:
        self.done = True
        if isinstance(task.error, CopyFailed):
            self.failure = task.error
        elif isinstance(task.error, Exception):
            failure = failure_of(task.error, self._job.table.clock)
            self.failure = CopyFailed(failure, is_read=False)
        if self._waiter is not None:
            self._waiter.wake()
        elif not self._job.busy:
            self._job.enter()

    async def stop(self) -> None:
        """Start no more requests, and wait for those in flight."""
        self.cancelled = True
        self._job.pace.kick()
        if not self.done:
            self._waiter = Waiter(direct=True)
            await self._waiter
            self._waiter = None


NEVER: Final = "never"
ALWAYS: Final = "always"


class BackupJob(BlockJob):
    """A backup from below `top`, a filter that copies before it writes, to its target.

    :param source: the node that the bitmap of the plan belongs to
    """

    job_type = "backup"

    def __init__(
        self,
        table: Listing,
        top: Node,
        source: Node,
        options: JobOptions,
        plan: BackupPlan,
        *,
        txn: JobTxn | None = None,
    ) -> None:
        assert isinstance(top.driver, CopyBeforeWrite | BackupTop)
        self.top = top
        self.source = source
        self.plan = plan
        self.copy: BlockCopyState = top.driver.copy
        self.length = source.length
        self.pace = _Speed(self)
        self._call: _Call | None = None
        super().__init__(table, top, options, txn=txn)
        assert self.copy.progress is not None
        self.progress = self.copy.progress

    @override
    def on_set_speed(self) -> None:
        self.pace.limit.set_speed(self.speed)
        self.pace.kick()

    @override
    def on_cancel(self, force: bool) -> bool:
        """What is on its way to a server that has left is not waited for."""
        edge = self.top.children.get("target")
        if edge is not None:
            edge.node.driver.cancel_in_flight()
        return True

    @override
    async def pause_point(self) -> None:
        """Pause once no request is in flight."""
        if self.pause_count and not self.cancelled and self._call is not None:
            await self._call.stop()
        await super().pause_point()

    # The work

    @override
    async def run(self) -> None:
        self.start_bitmap()
        self.copy.skip_unallocated = self.plan.sync == "top"
        self.progress.set_remaining(self.copy.copy_bitmap.count)
        if self.plan.sync == "top":
            offset = 0
            while offset < self.length:
                await self.limit_speed()
                if self.cancelled:
                    return
                count, _ = await self.copy.reset_unallocated(offset)
                offset += count
            self.copy.skip_unallocated = False
        if self.plan.sync == "none":
            while not self.cancelled:
                await self.idle()
            return
        await self.copy_all()

    def start_bitmap(self) -> None:
        """Have the bitmap say what is to be copied."""
        if self.plan.sync == "bitmap":
            assert self.plan.bitmap is not None
            bits = self.copy.copy_bitmap
            bits.clear()
            bits.merge_from(self.plan.bitmap)

    async def copy_all(self) -> None:
        """Copy what the bitmap says.

        :raises BlockIOError: a request failed
        """
        while not await self._copy_once():
            pass

    async def _copy_once(self) -> bool:
        """Copy everything; returns False if some of it failed and must be tried again."""
        call = self._call = _Call(self)
        while not call.done and not self.cancelled:
            await self.idle()
        self._call = None
        if not call.done:
            await call.stop()
            return True
        if self.cancelled:
            return True
        if call.cancelled:
            # A pause has stopped it: now that this is over it goes on, as if nothing had failed.
            return False
        failure = call.failure
        if failure is None:
            return True
        action = self.copy_failed(failure)
        if action is ErrorAction.REPORT:
            raise BlockIOError(failure.errno)
        if action is ErrorAction.STOP:
            await self.pause_point()
        else:
            # Where nothing takes time, QEMU's would try for ever, and do nothing else.
            await self.table.clock.reschedule()
        return False

    def copy_failed(self, failure: CopyFailed) -> ErrorAction:
        """Report a failed request, and decide what to do."""
        plan = self.plan
        policy = plan.on_source_error if failure.is_read else plan.on_target_error
        return self.io_failed(policy, failure.errno, read=failure.is_read)

    # Its end

    @override
    async def commit(self) -> None:
        """Replace the bitmap by its successor, if its mode says so (backup_cleanup_sync_bitmap)."""
        self._end_bitmap(succeeded=True)

    @override
    async def abort(self) -> None:
        """Merge what was not copied back into the bitmap."""
        self._end_bitmap(succeeded=False)

    def _end_bitmap(self, *, succeeded: bool) -> None:
        bitmap, mode = self.plan.bitmap, self.plan.bitmap_mode
        if bitmap is None:
            return
        if mode != NEVER and (succeeded or mode == ALWAYS):
            left = abdicate(self.source, bitmap)
        else:
            left = reclaim(self.source, bitmap)
        if not succeeded and mode == ALWAYS:
            left.merge_from(self.copy.copy_bitmap)

    @override
    async def clean(self) -> None:
        """Remove the filter."""
        top = self.top
        # What the filter copies until it is gone is not the job's any more.
        self.progress = replace(self.progress)
        top.hold()
        if not self.table.manners.backups_keep_their_nodes:
            await self.free_nodes()
        await drop_backup_filter(top)
        await release(top)


async def drop_backup_filter(top: Node) -> None:
    """Take the filter of a backup out."""
    if isinstance(top.driver, BackupTop):
        await top.driver.drop()
    else:
        await drop_filter(top)

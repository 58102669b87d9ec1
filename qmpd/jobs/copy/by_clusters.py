"""backup, as it was before it left all of its work to block-copy: one cluster after the other.

The job sleeps before each cluster, as long as its speed says, and may be paused there and nowhere
else.  What guests have had copied meanwhile counts against the speed, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.io.block_copy import CopyFailed
from qmpd.block.io.block_copy_call import block_copy
from qmpd.errors import BlockIOError
from qmpd.jobs.copy.backup import BackupJob
from qmpd.jobs.core.block_job import BlockJob
from qmpd.jobs.core.states import ErrorAction

if TYPE_CHECKING:
    from typing import Any


class BackupByClusters(BackupJob):
    """A backup that has one cluster copied at a time; see `BackupJob`."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._accounted = 0
        """How much progress has been counted against the speed."""

    @override
    def on_set_speed(self) -> None:
        """The limit is that of all block jobs."""

    @override
    async def pause_point(self) -> None:
        await BlockJob.pause_point(self)

    @override
    def start_bitmap(self) -> None:
        bits = self.copy.copy_bitmap
        if self.plan.sync == "bitmap":
            assert self.plan.bitmap is not None
            bits.merge_from(self.plan.bitmap)
        else:
            bits.set(0, self.length)

    @override
    async def limit_speed(self) -> None:
        done = self.progress.current
        self.processed(done - self._accounted)
        self._accounted = done
        await self.sleep(self._delay)

    @override
    async def copy_all(self) -> None:
        bits, cluster = self.copy.copy_bitmap, self.copy.cluster_size
        offset = bits.next_dirty(0)
        failure: CopyFailed | None = None
        while offset is not None:
            await self.limit_speed()
            if self.cancelled:
                break
            try:
                await block_copy(self.copy, offset, cluster)
            except CopyFailed as error:
                failure = error
                if self.copy_failed(failure) is ErrorAction.REPORT:
                    break
            else:
                failure = None
                offset = bits.next_dirty(offset + cluster)
        if failure is not None:
            # A cancellation does not hide the error that had the job stop before.
            raise BlockIOError(failure.errno)

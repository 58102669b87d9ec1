"""How a mirror takes part in the writes of guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers.filters.mirror_top import Change
from qmpd.errors import BlockIOError
from qmpd.jobs.core.block_job import ErrorAction
from qmpd.jobs.mirror.ops import MirrorOp

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from qmpd.jobs.mirror.mirror import MirrorJob


class GuestWrites:
    """What mirror `job` does about writes to its source; see `Mirroring`."""

    def __init__(self, job: MirrorJob) -> None:
        self.job = job
        self._in_flight = job.copier.in_flight

    @property
    def copies_writes(self) -> bool:
        """See `Mirroring.copies_writes`."""
        return self.job.write_blocking and self.job.failure is None and not self.job.cancelled

    def missed(self, offset: int, length: int) -> None:
        """See `Mirroring.missed`."""
        self.job.actively_synced = False
        self.job.bitmap.set(offset, length)

    async def write_both(self, change: Change, on_source: Coroutine[Any, Any, None]) -> None:
        """See `Mirroring.write_both`."""
        op = MirrorOp(change.offset, change.length, is_active=True)
        self._in_flight.add(op)
        try:
            await self._in_flight.wait_on_conflicts(
                op.offset, op.length, op=op, given_up=lambda: self.job.failure is not None
            )
            self._in_flight.claim(op.offset, op.length)
            await on_source
            await self._write_target(change)
        finally:
            self._in_flight.release(op)

    async def _write_target(self, change: Change) -> None:
        area = self._clean_part(change.offset, change.length)
        if area is None:
            return
        offset, length = area
        step = self.job.granularity
        first, end = -(-offset // step) * step, (offset + length) // step * step
        if first < end:
            self.job.bitmap.reset(first, end - first)
        self.job.progress_total += length
        self._in_flight.active_length += length
        try:
            await change.narrowed(offset, length).apply(self.job.target)
        except BlockIOError as error:
            first, end = offset // step * step, -(-(offset + length) // step) * step
            self.job.bitmap.set(first, end - first)
            if (
                self.job.request_failed(error, read=False) is ErrorAction.REPORT
                and self.job.failure is None
            ):
                self.job.failure = BlockIOError(error.errno)
        else:
            self.job.progress_current += length
        finally:
            self._in_flight.active_length -= length

    def _clean_part(self, offset: int, length: int) -> tuple[int, int] | None:
        """The area without chunks at its ends that it covers in part and that are dirty anyway."""
        step = self.job.granularity
        if offset % step and self.job.bitmap.is_dirty(offset):
            skipped = step - offset % step
            if length <= skipped:
                return None
            offset, length = offset + skipped, length - skipped
        if (offset + length) % step and self.job.bitmap.is_dirty(offset + length - 1):
            tail = (offset + length) % step
            if length <= tail:
                return None
            length -= tail
        return offset, length

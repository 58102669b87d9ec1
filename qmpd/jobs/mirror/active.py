"""The part of a mirror in writes by guests (active mirroring)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers.filters.mirror_top import Change
from qmpd.block.model.failure import failure_of
from qmpd.errors import BlockIOError
from qmpd.jobs.core.states import ErrorAction
from qmpd.jobs.mirror.ops import MirrorOp

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from qmpd.jobs.mirror.state import MirrorOwner, MirrorState


class GuestWrites:
    """Handles writes to the source; see `Mirroring`.

    :param state: the state of the mirror
    :param job: the mirror
    """

    def __init__(self, state: MirrorState, job: MirrorOwner) -> None:
        self.state = state
        self.job = job
        self._in_flight = state.in_flight

    @property
    def copies_writes(self) -> bool:
        """Whether writes to the source also go to the target before they complete."""
        blocking = self.state.write_blocking and self.state.failure is None
        return blocking and not self.job.ends_at_once

    def missed(self, offset: int, length: int) -> None:
        """Mark an area dirty that was written to the source only."""
        self.state.actively_synced = False
        self.state.bitmap.set(offset, length)

    async def write_both(self, change: Change, on_source: Coroutine[Any, Any, None]) -> None:
        """Do a write to source and target (``bdrv_mirror_top_do_write``).

        :param on_source: writes to the source
        """
        op = MirrorOp(change.offset, change.length, is_active=True)
        self._in_flight.add(op)
        try:
            await self._in_flight.wait_on_conflicts(
                op.offset, op.length, op=op, given_up=lambda: self.state.failure is not None
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
        step = self.state.granularity
        first, end = -(-offset // step) * step, (offset + length) // step * step
        if first < end:
            self.state.bitmap.reset(first, end - first)
        self.job.progress.total += length
        self._in_flight.active_length += length
        try:
            change = change.narrowed(offset, length)
            if self.state.begin_change(change):
                await change.apply(self.state.target)
                self.state.end_change(change)
        except Exception as error:
            first, end = offset // step * step, -(-(offset + length) // step) * step
            self.state.bitmap.set(first, end - first)
            failure = failure_of(error, self.state.source.services.loop)
            action = self.job.request_failed(failure, read=False)
            if action is ErrorAction.REPORT and self.state.failure is None:
                self.state.failure = BlockIOError(failure.errno)
        else:
            self.job.progress.current += length
        finally:
            self._in_flight.active_length -= length

    def _clean_part(self, offset: int, length: int) -> tuple[int, int] | None:
        """The area without partial chunks at its ends that are dirty already."""
        step = self.state.granularity
        if offset % step and self.state.bitmap.is_dirty(offset):
            skipped = step - offset % step
            if length <= skipped:
                return None
            offset, length = offset + skipped, length - skipped
        if (offset + length) % step and self.state.bitmap.is_dirty(offset + length - 1):
            tail = (offset + length) % step
            if length <= tail:
                return None
            length -= tail
        return offset, length

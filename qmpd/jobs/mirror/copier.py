"""The requests by which a mirror copies dirty areas to the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyroaring import BitMap64

from qmpd.block.drivers.filters.mirror_top import Change
from qmpd.block.io.chain_status import block_status_above
from qmpd.block.io.straight import copy
from qmpd.block.model.completed import completed
from qmpd.block.model.failure import failure_of
from qmpd.errors import BlockIOError
from qmpd.jobs.core.states import ErrorAction
from qmpd.jobs.mirror.ops import MirrorOp

if TYPE_CHECKING:
    from qmpd.jobs.mirror.state import MirrorOwner, MirrorState

MAX_IN_FLIGHT: Final = 16
MAX_IO: Final = 1 << 20
_MAX_IOV: Final = 1024


class MirrorCopier:
    """The requests of one mirror.

    :param state: the state of the mirror; its bitmap says what to copy
    :param job: the mirror
    """

    def __init__(self, state: MirrorState, job: MirrorOwner) -> None:
        self.state = state
        self.job = job
        self.granularity = state.granularity
        self.in_flight = state.in_flight
        self._buffer = state.buffer
        self.zeroing = False
        """Whether the target is being zeroed, which is no progress."""
        self._cursor = 0
        self._aligned: BitMap64 | None = None
        self._target_cluster = 512

    @property
    def full(self) -> bool:
        """Whether no request can be started now."""
        return self.in_flight.count >= MAX_IN_FLIGHT or not self.in_flight.free_buffers

    def prepare(self) -> None:
        """Copy whole clusters if the target has no backing file to fill new clusters from."""
        target = self.state.target_node
        self._target_cluster = target.driver.cluster_size() or 512
        if (
            target.driver.auto_backing_file
            and target.skip_filters().filter_or_backing is None
            and self.granularity < self._target_cluster
        ):
            self._buffer = max(self._buffer, self._target_cluster)
            self._aligned = BitMap64()

    async def copy_dirty(self) -> None:
        """Start to copy the next dirty area, up to the size of the buffer."""
        offset = self.state.bitmap.next_dirty(self._cursor)
        if offset is None:
            offset = self.state.bitmap.next_dirty(0)
            assert offset is not None
        await self.in_flight.wait_on_conflicts(
            offset, 1, given_up=lambda: self.state.failure is not None
        )
        await self.job.pause_point()
        length = self._dirty_length(offset)
        self._cursor = offset + length
        # Before anything is awaited: what is written from now on has to be copied again.
        self.state.bitmap.reset(offset, length)
        pseudo = MirrorOp(offset, length, is_pseudo=True)
        self.in_flight.add(pseudo)
        self.in_flight.claim(offset, length)
        try:
            await self._copy(offset, offset + length)
        finally:
            self.in_flight.drop(pseudo)

    def _dirty_length(self, offset: int) -> int:
        length = self.granularity
        while length < self._buffer:
            after = offset + length
            if after >= self.state.source.length or not self.state.bitmap.is_dirty(after):
                break
            if self.in_flight.is_claimed(after):
                break
            length += self.granularity
        return length

    async def _copy(self, offset: int, end: int) -> None:
        end = min(end, -(-self.state.source.length // self.granularity) * self.granularity)
        most = max(self._buffer // MAX_IN_FLIGHT, MAX_IO)
        while offset < end:
            change, size = await self._method(offset, end - offset, most)
            while self.in_flight.count >= MAX_IN_FLIGHT:
                await self.in_flight.wait_for_slot()
            if self.state.failure is not None:
                return
            size = min(size, self.state.source.length - offset)
            if change is None:
                handled = await self._start_copy(offset, size)
            else:
                handled = size
                needed = self.start(change.narrowed(offset, size))
            free = change is not None and (
                not needed or self.state.target_node.can_write_zeroes_with_unmap
            )
            self.job.processed(0 if free else handled)
            offset += self.in_flight.chunks_of(handled) * self.granularity

    async def _method(self, offset: int, length: int, most: int) -> tuple[Change | None, int]:
        """How to bring an area up to date: a copy (None), or a change that needs no data."""
        try:
            status = await block_status_above(self.state.source, None, offset, length)
        except BlockIOError:
            return None, max(self.granularity, min(length, most))
        size = min(status.length, most) if status.data else status.length
        size -= size % self.granularity
        if size < self.granularity:
            return None, self.granularity
        if status.data or self.state.target_node.round_to_subclusters(offset, size) != (
            offset,
            size,
        ):
            return None, size
        return (
            Change(offset, size, discard=not status.zero, may_unmap=self.state.plan.unmap),
            size,
        )

    def start(self, change: Change) -> bool:
        """Start a change of the target that does not read the source.

        :returns: whether it has to be made
        """
        op = MirrorOp(change.offset, change.length)
        needed = self.state.begin_change(change)
        self.in_flight.add(op)
        self.in_flight.begin(op)
        self.job.begin(self._change_target(op, change, needed), "zeroes")
        return needed

    async def _change_target(self, op: MirrorOp, change: Change, needed: bool) -> None:
        failure: BlockIOError | None = None
        if needed:
            try:
                await completed(self.state.target_node, change.apply(self.state.target), op.length)
                self.state.end_change(change)
            except Exception as error:
                failure = failure_of(error, self.state.source.services.loop)
        self._op_ended(op, failure, read=False, buffers=0)

    async def _start_copy(self, offset: int, length: int) -> int:
        """Start to copy up to `length` bytes from `offset`; returns how many."""
        length = min(length, self._buffer, self.granularity * _MAX_IOV)
        start, size = offset, length
        if self._aligned is not None:
            start, size = self._align(offset, length)
        buffers = self.in_flight.chunks_of(size)
        while self.in_flight.free_buffers < buffers:
            await self.in_flight.wait_for_slot()
        self.in_flight.free_buffers -= buffers
        op = MirrorOp(start, size)
        if self.state.zeroes is not None:
            self.state.zeroes.wrote(start, size)
        self.in_flight.add(op)
        self.in_flight.begin(op)
        self.job.begin(self._read_and_write(op, buffers), "copy")
        return start + size - offset

    def _align(self, offset: int, length: int) -> tuple[int, int]:
        """Extend an area to whole clusters of the target (mirror_cow_align)."""
        assert self._aligned is not None
        first, last = offset // self.granularity, (offset + length - 1) // self.granularity
        new = first not in self._aligned or last not in self._aligned
        if new:
            offset, length = self.state.target_node.round_to_subclusters(offset, length)
        most = self.granularity * _MAX_IOV
        if length > most:
            length = most // self._target_cluster * self._target_cluster if new else most
        return offset, min(length, self.state.source.length - offset)

    async def _read_and_write(self, op: MirrorOp, buffers: int) -> None:
        failure: BlockIOError | None = None
        read = True

        def has_read() -> None:
            nonlocal read
            read = False

        try:
            await copy(
                self.state.source,
                self.state.target,
                op.offset,
                op.length,
                has_read,
                flush_follows=not self.job.ready,
            )
        except Exception as error:
            failure = failure_of(error, self.state.source.services.loop)
        self._op_ended(op, failure, read=read, buffers=buffers)

    def _op_ended(
        self, op: MirrorOp, failure: BlockIOError | None, *, read: bool, buffers: int
    ) -> None:
        if failure is not None:
            self.state.bitmap.set(op.offset, op.length)
            action = self.job.request_failed(failure, read=read)
            if action is ErrorAction.REPORT and self.state.failure is None:
                self.state.failure = BlockIOError(failure.errno)
        self.in_flight.finish(op, buffers)
        if failure is None:
            if self._aligned is not None:
                first = op.offset // self.granularity
                self._aligned.add_range(first, first + self.in_flight.chunks_of(op.length))
            if not self.zeroing:
                self.job.progress.current += op.length

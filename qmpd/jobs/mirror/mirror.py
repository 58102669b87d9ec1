"""mirror: bringing a target up to date with a disk that is being written, and staying so.

The job copies what its dirty bitmap says, while the `mirror_top` filter above the source
marks what guests write meanwhile (or, with copy mode write-blocking, has it written to both).
Once nothing is dirty the job is ready; from then on the target may take the source's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.sizes import INT_MAX
from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.drivers.filters.mirror_top import Change
from qmpd.block.io.chain_status import is_allocated_above
from qmpd.block.permission_bits import CONSISTENT_READ, WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError, GenericError
from qmpd.jobs.core.block_job import BlockJob, ErrorAction, OnError
from qmpd.jobs.mirror.active import GuestWrites
from qmpd.jobs.mirror.copier import MAX_IN_FLIGHT, MAX_IO, MirrorCopier
from qmpd.loop.rate_limit import SLICE
from qmpd.loop.request_time import FileRequests

if TYPE_CHECKING:
    from qmpd.block.drivers.filters.mirror_top import MirrorTop
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.job_list import JobTable
    from qmpd.jobs.core.options import JobOptions

DEFAULT_BUFFER: Final = MAX_IN_FLIGHT * MAX_IO


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """How a mirror copies.

    `granularity`: bytes of a bit of its bitmap.  `buffer`: bytes it may hold at a time.  `base`:
    what lies there and below is not copied, nor anything with `none`.  `zero_target`: the target
    may hold anything, areas that read as zeroes must be written.  `unmap`: and may be given back.
    `write_blocking`: guests wait until their writes have reached the target.
    """

    granularity: int
    buffer: int
    base: Node | None = None
    none: bool = False
    zero_target: bool = False
    unmap: bool = True
    write_blocking: bool = False
    on_source_error: OnError = OnError.REPORT
    on_target_error: OnError = OnError.REPORT


class MirrorJob(BlockJob):
    """A mirror of what lies below filter `top`; see `qmpd.jobs.mirror.start`.

    :param top: the node of the filter
    :param plan: how it copies
    """

    job_type = "mirror"
    can_complete = True
    can_change = True
    may_grow_target = False
    """Whether the target is made longer when it is too short (active commit)."""

    def __init__(
        self,
        table: JobTable,
        top: Node,
        options: JobOptions,
        plan: MirrorPlan,
    ) -> None:
        super().__init__(
            table,
            top,
            options,
            perm=CONSISTENT_READ,
            shared=CONSISTENT_READ | WRITE_UNCHANGED | WRITE,
        )
        assert top.driver.format_name == "mirror_top"
        self.graph = top.graph
        self.top = top
        self.filter: MirrorTop = top.driver  # type: ignore[assignment]
        self.plan = plan
        self.granularity = plan.granularity
        self.write_blocking = plan.write_blocking
        self.actively_synced = False
        self.completing = False
        self.in_drain = False
        self.failure: BlockIOError | None = None
        self.bitmap = DirtyBitmap(self.source.length, plan.granularity, enabled=False)
        self.copier = MirrorCopier(self, plan.buffer)
        self._target: BlockBackend | None = None
        self._last_pause = 0

    @property
    def source(self) -> Node:
        """What is copied."""
        return self.filter.source

    @property
    def target(self) -> BlockBackend:
        """What it is copied to."""
        assert self._target is not None
        return self._target

    @target.setter
    def target(self, backend: BlockBackend) -> None:
        self._target = backend

    @property
    def target_node(self) -> Node:
        """The node at the root of `target`."""
        node = self.target.node
        assert node is not None
        return node

    # Verbs

    async def complete_work(self) -> None:
        """See `Job.complete_work`; a paused job completes when it is resumed."""
        self.completing = True
        if not self.paused:
            self.enter()

    def on_cancel(self, force: bool) -> bool:
        """See `Job.on_cancel`: before it is ready there is no end that is any good."""
        return force or not self.ready

    async def change_work(self, options: Any) -> None:
        """See `BlockJob.change_work`: copy mode background may become write-blocking."""
        mode = getattr(options, "copy_mode", "background")
        current = "write-blocking" if self.write_blocking else "background"
        if mode == current:
            return
        if mode != "write-blocking":
            raise GenericError(f"Change to copy mode '{mode}' is not implemented")
        self.write_blocking = True

    def more_info(self) -> dict[str, Any]:
        """See `BlockJob.more_info`."""
        return {"actively-synced": self.actively_synced}

    def drained_poll(self) -> Any:
        """See `BlockJob.drained_poll`; the drain at its own end does not wait for it."""
        if self.in_drain:
            return None
        return super().drained_poll()

    async def pause_point(self) -> None:
        """See `Job.pause_point`; it stands still with nothing under way."""
        if self.pause_count and not self.cancelled:
            await self.copier.in_flight.wait_for_all()
        await super().pause_point()

    # The work

    async def run(self) -> None:
        """See `Job.run`."""
        try:
            if not self.cancelled:
                await self._mirror()
        except Exception:
            await self._end_quietly()
            raise
        await self._end_quietly()

    async def _end_quietly(self) -> None:
        await self.copier.in_flight.wait_for_all()
        if not self.in_drain:
            await self._drain()

    async def _drain(self) -> None:
        """Keep guests from writing until the graph has been changed."""
        self.in_drain = True
        await self.turn()
        await drained_begin(self.source)

    async def _mirror(self) -> None:
        await self._check_lengths()
        self._last_pause = self.table.clock.now()
        if not self.source.length:
            self.become_ready()
            self.actively_synced = True
            while not (self.cancel_requested or self.completing):
                await self.idle()
            return
        self.copier.prepare()
        if not self.plan.none:
            await self._mark_what_is_to_copy()
            if self.cancelled:
                return
        self.filter.job = GuestWrites(self)
        while not await self._turn():
            pass

    async def _check_lengths(self) -> None:
        length = self.source.length
        if self.may_grow_target:
            if length > self.target.length():
                await self.target.truncate(length, exact=False)
        elif length != self.target.length():
            raise GenericError("Source and target image have different sizes")

    async def _mark_what_is_to_copy(self) -> None:
        length = self.source.length
        if self.plan.zero_target:
            if not self.target_node.can_write_zeroes_with_unmap:
                self.bitmap.set(0, length)
                return
            await self._zero_target(length)
            if self.cancelled:
                return
        offset = 0
        step = INT_MAX // self.granularity * self.granularity
        base, include = self._scan_base()
        while offset < length:
            await self._throttle()
            if self.cancelled:
                return
            size = min(length - offset, step)
            requests = FileRequests(self.source)
            allocated, size = await is_allocated_above(
                self.source, base, offset, size, include_base=include
            )
            await requests.time()
            if allocated:
                self.bitmap.set(offset, size)
            offset += size

    def _scan_base(self) -> tuple[Node | None, bool]:
        """The lowest node that is copied, and whether there is one."""
        overlay = self.source.overlay_of(self.plan.base)
        return overlay, overlay is not None

    async def _zero_target(self, length: int) -> None:
        self.copier.zeroing = True
        step = INT_MAX // self.granularity * self.granularity
        offset = 0
        try:
            while offset < length:
                await self._throttle()
                if self.cancelled:
                    return
                if self.copier.in_flight.count >= MAX_IN_FLIGHT:
                    await self.copier.in_flight.wait_for_slot()
                    continue
                size = min(length - offset, step)
                self.copier.start(Change(offset, size, may_unmap=self.plan.unmap))
                offset += size
            await self.copier.in_flight.wait_for_all()
        finally:
            self.copier.zeroing = False

    async def _throttle(self) -> None:
        """Let others have a turn from time to time."""
        now = self.table.clock.now()
        if now - self._last_pause > SLICE:
            self._last_pause = now
            await self.sleep(0)
        else:
            await self.pause_point()

    async def _turn(self) -> bool:
        """Copy some, or see that there is nothing to copy; returns whether this is the end."""
        if self.failure is not None:
            raise self.failure
        await self.pause_point()
        if self.cancelled:
            return True
        dirty = self.bitmap.count
        under_way = self.copier.in_flight.length + self.copier.in_flight.active_length
        self.progress_total = self.progress_current + under_way + dirty
        if self.table.clock.now() - self._last_pause < SLICE and self.io_status == "ok":
            if self.copier.full or (not dirty and self.copier.in_flight.count):
                await self.copier.in_flight.wait_for_slot()
                return False
            if dirty:
                await self.copier.copy_dirty()
        ending = False
        if not self.copier.in_flight.count and not dirty:
            if not self.ready:
                if not await self._flush():
                    return False
                self.become_ready()
            if self.write_blocking:
                self.actively_synced = True
            ending = self.completing or self.cancel_requested
            dirty = self.bitmap.count
        if ending and not dirty:
            return await self._try_to_end()
        if not self.ready or ending:
            await self.limit_speed()
        elif not self.copier.in_flight.count and not dirty:
            await self.sleep(SLICE)
        self._last_pause = self.table.clock.now()
        return False

    async def _try_to_end(self) -> bool:
        """Stop the guests' writes; returns whether none has come in between."""
        await self._drain()
        if self.bitmap.count or not await self._flush():
            drained_end(self.source)
            self.in_drain = False
            return False
        return True

    async def _flush(self) -> bool:
        try:
            await self.target.flush()
        except BlockIOError as error:
            if self.request_failed(error, read=False) is ErrorAction.REPORT:
                self.failure = error
            return False
        return True

    def request_failed(self, error: BlockIOError, *, read: bool) -> ErrorAction:
        """A request has failed: say so, and decide; the target is behind now."""
        self.actively_synced = False
        policy = self.plan.on_source_error if read else self.plan.on_target_error
        return self.io_failed(policy, error.errno, read=read)

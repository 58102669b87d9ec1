"""mirror: copying a disk to a target while it is written, and keeping both in sync.

The job copies what its dirty bitmap says, while the `mirror_top` filter above the source
marks what guests write meanwhile (or, with copy mode write-blocking, writes it to both).
Once nothing is dirty the job is ready; from then on the target may replace the source.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.override import override
from qmpd.base.sizes import INT_MAX
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.drivers.filters.mirror_top import Change, MirrorTop
from qmpd.block.io.chain_status import is_allocated_above
from qmpd.block.io.sync_ahead import sync_ahead
from qmpd.block.model.completed import completed
from qmpd.block.permission_bits import CONSISTENT_READ, WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError, GenericError
from qmpd.jobs.core.block_job import BlockJob
from qmpd.jobs.core.states import ErrorAction
from qmpd.jobs.mirror.active import GuestWrites
from qmpd.jobs.mirror.copier import MAX_IN_FLIGHT, MAX_IO, MirrorCopier
from qmpd.jobs.mirror.state import MirrorPlan, MirrorState
from qmpd.jobs.mirror.zeroes import reads_as_zeroes
from qmpd.loop.rate_limit import SLICE

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.options import JobOptions
    from qmpd.jobs.core.protocols import Listing

DEFAULT_BUFFER: Final = MAX_IN_FLIGHT * MAX_IO


class MirrorWork(BlockJob):
    """A mirror of the node below filter `top`, without its end; see `MirrorJob` for that.

    :param top: the node of the filter
    :param plan: how it copies
    """

    job_type = "mirror"
    can_complete = True
    can_change = True
    hold = (CONSISTENT_READ, CONSISTENT_READ | WRITE_UNCHANGED | WRITE)
    may_grow_target = False
    """Whether the target is made longer when it is too short (active commit)."""

    def __init__(
        self,
        table: Listing,
        top: Node,
        options: JobOptions,
        plan: MirrorPlan,
    ) -> None:
        super().__init__(table, top, options)
        assert isinstance(top.driver, MirrorTop)
        self.graph = top.graph
        self.top = top
        self.filter = top.driver
        self.plan = plan
        self.state = MirrorState(top.driver, plan)
        self.bitmap = self.state.bitmap
        self.granularity = plan.granularity
        self.completing = False
        self.in_drain = False
        self.copier = MirrorCopier(self.state, self)
        self._last_pause = 0

    @property
    def source(self) -> Node:
        """The node to copy."""
        return self.state.source

    @property
    def target(self) -> BlockBackend:
        """The backend to copy to."""
        return self.state.target

    @property
    def target_node(self) -> Node:
        """The node at the root of `target`."""
        return self.state.target_node

    # Verbs

    @override
    async def complete_work(self) -> None:
        """Complete, once the job is resumed if it is paused."""
        self.completing = True
        if not self.paused or self.table.manners.paused_jobs_do_not_complete:
            self.enter()

    @override
    def on_cancel(self, force: bool) -> bool:
        """Whether the cancellation is forced: before the job is ready, it always is."""
        force = force or not self.ready
        backend = self.state.backend
        if force and backend is not None and backend.node is not None:
            backend.node.driver.cancel_in_flight()
        return force

    @override
    async def change_work(self, options: Any) -> None:
        """Change the copy mode from background to write-blocking."""
        mode = getattr(options, "copy_mode", "background")
        current = "write-blocking" if self.state.write_blocking else "background"
        if mode == current:
            return
        if mode != "write-blocking":
            raise GenericError(f"Change to copy mode '{mode}' is not implemented")
        self.state.write_blocking = True

    @override
    def more_info(self) -> dict[str, Any]:
        return {"actively-synced": self.state.actively_synced}

    @override
    def drained_poll(self) -> Any:
        """What to wait for; None while the job itself drains at its end."""
        if self.in_drain:
            return None
        return super().drained_poll()

    @override
    async def pause_point(self) -> None:
        """Pause once no request is in flight."""
        if self.pause_count and not self.cancelled:
            await self.state.in_flight.wait_for_all()
        await super().pause_point()

    # The work

    @override
    async def run(self) -> None:
        try:
            if not self.cancelled:
                await self._mirror()
        except Exception:
            await self._end_quietly()
            raise
        await self._end_quietly()

    async def _end_quietly(self) -> None:
        await self.state.in_flight.wait_for_all()
        if not self.in_drain:
            await self._drain()

    async def _drain(self) -> None:
        """Drain the source until the graph has been changed."""
        self.in_drain = True
        # A coroutine leaves it to a bottom half to drain (``bdrv_co_yield_to_drain``).
        await self.table.clock.in_bottom_half(drained_begin(self.source), f"job {self.id}: drain")

    async def _mirror(self) -> None:
        await self._check_lengths()
        self._last_pause = self.table.clock.now()
        if not self.source.length:
            self.become_ready()
            self.state.actively_synced = True
            while not (self.cancel_requested or self.completing):
                await self.idle()
            self._has_ended_well()
            return
        self.copier.prepare()
        if not self.plan.none:
            await self._mark_what_is_to_copy()
            if self.cancelled:
                return
        self.filter.tell(GuestWrites(self.state, self))
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
        if not await self._knows_zeroes() and self.plan.zero_target:
            if self._punches_holes or not self.target_node.can_write_zeroes_with_unmap:
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
            allocation = is_allocated_above(self.source, base, offset, size, include_base=include)
            allocated, size = await completed(self.source, allocation)
            if allocated:
                self.bitmap.set(offset, size)
            offset += size

    async def _knows_zeroes(self) -> bool:
        """Note whether the target reads as zeroes; returns whether they need not be written."""
        zeroes, target = self.state.zeroes, self.target_node
        if zeroes is None or self._punches_holes:
            return False
        is_zero = self.plan.target_is_zero or await completed(target, reads_as_zeroes(target))
        if is_zero:
            zeroes.zeroed(0, target.length, target.length)
        return is_zero

    @property
    def _punches_holes(self) -> bool:
        """Whether the target is to give back all that reads as zeroes, known or not."""
        target = self.target_node
        return (
            target.services.manners.mirrors_skip_zeroes
            and target.detect_zeroes == "unmap"
            and target.can_write_zeroes_with_unmap
        )

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
                if self.state.in_flight.count >= MAX_IN_FLIGHT:
                    await self.state.in_flight.wait_for_slot()
                    continue
                size = min(length - offset, step)
                self.copier.start(Change(offset, size, may_unmap=self.plan.unmap))
                offset += size
            await self.state.in_flight.wait_for_all()
        finally:
            self.copier.zeroing = False

    async def _throttle(self) -> None:
        """Yield from time to time."""
        now = self.table.clock.now()
        if now - self._last_pause > SLICE:
            self._last_pause = now
            await self.sleep(0)
        else:
            await self.pause_point()

    async def _turn(self) -> bool:
        """Do one iteration of mirror_run; returns whether the job is done."""
        self.passed_over()
        if self.state.failure is not None:
            raise self.state.failure
        await self.pause_point()
        if self.ends_at_once and not self.table.manners.gentle_cancels_count:
            return True
        dirty = self.bitmap.count
        under_way = self.state.in_flight.length + self.state.in_flight.active_length
        self.progress.total = self.progress.current + under_way + dirty
        if self.table.clock.now() - self._last_pause < SLICE and self.io_status == "ok":
            if self.copier.full or (not dirty and self.state.in_flight.count):
                await self.state.in_flight.wait_for_slot()
                return False
            if dirty:
                await self.copier.copy_dirty()
        ending = False
        if not self.state.in_flight.count and not dirty:
            if not self.ready:
                if not await self._flush():
                    return False
                self.become_ready()
            if self.state.write_blocking:
                self.state.actively_synced = True
            ending = self.completing or self.cancel_requested
            dirty = self.bitmap.count
        if ending and not dirty:
            return await self._try_to_end()
        if not self.ready or ending:
            await self.limit_speed()
        elif not self.state.in_flight.count and not dirty:
            await self.sleep(SLICE)
        if self.ends_at_once:
            return True
        self._last_pause = self.table.clock.now()
        return False

    @property
    def ends_at_once(self) -> bool:
        """Whether it was cancelled and need not bring the target up to date before."""
        if self.table.manners.gentle_cancels_count:
            return self.cancelled and (self.cancel_forced or not self.ready)
        return self.cancelled

    def _has_ended_well(self) -> None:
        """The target is up to date: a cancellation that has asked for it is no failure."""
        if self.table.manners.gentle_cancels_count:
            self.cancelled = False

    async def _try_to_end(self) -> bool:
        """Drain the source; returns whether nothing has become dirty meanwhile."""
        await self._drain()
        if self.bitmap.count or not await self._flush():
            drained_end(self.source)
            self.in_drain = False
            return False
        self._has_ended_well()
        return True

    async def _flush(self) -> bool:
        try:
            await sync_ahead(self.target_node)
            await completed(self.target_node, self.target.flush())
        except BlockIOError as error:
            if self.request_failed(error, read=False) is ErrorAction.REPORT:
                self.state.failure = error
            return False
        return True

    def begin(self, request: Coroutine[Any, Any, None], what: str) -> None:
        """Start a request that runs in parallel to the job."""
        self.table.clock.enter(request, f"job {self.id}: {what}")

    def request_failed(self, error: BlockIOError, *, read: bool) -> ErrorAction:
        """Report a failed request and decide what to do; the target is out of sync now."""
        self.state.actively_synced = False
        policy = self.plan.on_source_error if read else self.plan.on_target_error
        return self.io_failed(policy, error.errno, read=read)

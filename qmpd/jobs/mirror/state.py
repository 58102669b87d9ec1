"""The state of a mirror, shared by its parts."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.jobs.core.states import OnError
from qmpd.jobs.mirror.ops import InFlight
from qmpd.jobs.mirror.zeroes import TargetZeroes

if TYPE_CHECKING:
    from qmpd.block.drivers.filters.mirror_top import Change, MirrorTop
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.io.progress import ProgressMeter
    from qmpd.block.model.node import Node
    from qmpd.errors import BlockIOError
    from qmpd.jobs.core.states import ErrorAction


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """How a mirror copies.

    `granularity`: bytes per bit of its bitmap.  `buffer`: bytes in memory at a time.  `base`:
    what lies there and below is not copied, nor anything with `none`.  `zero_target`: the target
    may hold anything, areas that read as zeroes must be written.  `unmap`: and may be given back.
    `target_is_zero`: the target is known to read as zeroes.
    `write_blocking`: guests wait until their writes have reached the target.
    """

    granularity: int
    buffer: int
    base: Node | None = None
    none: bool = False
    zero_target: bool = False
    target_is_zero: bool = False
    unmap: bool = True
    write_blocking: bool = False
    on_source_error: OnError = OnError.REPORT
    on_target_error: OnError = OnError.REPORT


class MirrorState:
    """What to copy from where to where, and the progress made.

    :param top: the filter above the source
    :param plan: how the mirror copies
    """

    def __init__(self, top: MirrorTop, plan: MirrorPlan) -> None:
        self.filter = top
        self.plan = plan
        self.granularity = plan.granularity
        self.buffer = -(-plan.buffer // plan.granularity) * plan.granularity
        """Bytes that may be in memory at a time."""
        self.in_flight = InFlight(plan.granularity, self.buffer // plan.granularity)
        manners = self.source.services.manners
        in_source = manners.mirrors_mark_the_source
        self.marked = self.source if in_source else top.node
        """Which node has the bitmap."""
        records = in_source and not plan.write_blocking
        self.bitmap = DirtyBitmap(self.source.length, plan.granularity, enabled=records)
        """What is to be copied."""
        self.zeroes = TargetZeroes(plan.granularity) if manners.mirrors_skip_zeroes else None
        """Where the target reads as zeroes; None: that does not count."""
        self.write_blocking = plan.write_blocking
        self.actively_synced = False
        self.failure: BlockIOError | None = None
        """Why the job is going to fail."""
        self.backend: BlockBackend | None = None

    @property
    def source(self) -> Node:
        """The node to copy."""
        return self.filter.source

    @property
    def target(self) -> BlockBackend:
        """The backend to copy to."""
        assert self.backend is not None
        return self.backend

    @property
    def target_node(self) -> Node:
        """The node at the root of `target`."""
        node = self.target.node
        assert node is not None
        return node

    def begin_change(self, change: Change) -> bool:
        """Whether a change of the target has to be made: not where zeroes are known to be."""
        if self.zeroes is None:
            return True
        if change.data is None and not change.discard:
            return not self.zeroes.covers(change.offset, change.length)
        self.zeroes.wrote(change.offset, change.length)
        return True

    def end_change(self, change: Change) -> None:
        """Note zeroes that have been written."""
        if self.zeroes is not None and change.data is None and not change.discard:
            self.zeroes.zeroed(change.offset, change.length, self.target_node.length)


class MirrorOwner(Protocol):
    """The job, as the parts of the mirror see it."""

    progress: ProgressMeter

    @property
    def ends_at_once(self) -> bool:
        """Whether it was cancelled and need not bring the target up to date before."""

    @property
    def ready(self) -> bool:
        """Whether all has been copied once."""

    def request_failed(self, error: BlockIOError, *, read: bool) -> ErrorAction:
        """Report a failed request; returns what to do about it."""

    def processed(self, length: int) -> None:
        """Count copied bytes against the speed limit."""

    async def pause_point(self) -> None:
        """Suspend the work here while the job is paused."""

    def begin(self, request: Coroutine[Any, Any, None], what: str) -> None:
        """Start a request that runs in parallel to the job."""

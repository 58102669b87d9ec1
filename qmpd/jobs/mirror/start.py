"""Starting a mirror, or a commit of the active layer, which is a mirror into a backing file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from qmpd.block.change.closing import release
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.insert import drop_filter, insert_filter
from qmpd.block.change.permissions import refresh_permissions
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import freeze_chain
from qmpd.block.drivers.filters.mirror_top import MirrorTop
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.blockers import Op
from qmpd.block.permission_bits import (
    CONSISTENT_READ,
    NOTHING,
    RESIZE,
    WRITE,
    WRITE_UNCHANGED,
    GraphMod,
)
from qmpd.errors import GenericError
from qmpd.jobs.core.merged_nodes import hold_merged
from qmpd.jobs.mirror.end import ActiveCommitJob, Backing, MirrorJob
from qmpd.jobs.mirror.mirror import DEFAULT_BUFFER
from qmpd.jobs.mirror.state import MirrorPlan

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.options import JobOptions
    from qmpd.jobs.core.protocols import Listing
    from qmpd.jobs.core.states import OnError

_MINIMUM, _MAXIMUM = 512, 64 << 20


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """Options shared by blockdev-mirror and drive-mirror.

    `granularity` and `buf_size` are bytes, None and 0 mean the default.
    """

    job: JobOptions
    sync: str
    replaces: str | None
    granularity: int
    buf_size: int
    on_source_error: OnError
    on_target_error: OnError
    unmap: bool = True
    write_blocking: bool = False
    target_is_zero: bool = False


def default_granularity(node: Node) -> int:
    """Default granularity of a bitmap for `node`, bytes (bdrv_get_default_bitmap_granularity)."""
    cluster = node.driver.cluster_size()
    return 65536 if not cluster else max(4096, cluster)


async def start_mirror(
    jobs: Listing,
    source: Node,
    target: Node,
    options: MirrorOptions,
    *,
    backing: Backing,
    zero_target: bool,
) -> MirrorJob:
    """Start to mirror `source` to `target` (mirror_start).

    :param backing: what happens to the target's backing file in the end
    :param zero_target: all is to be copied, to a target that may contain other data than zeroes
    :raises QmpError: with QEMU's text; checks are in QEMU's order
    """
    granularity = options.granularity
    if granularity and not _MINIMUM <= granularity <= _MAXIMUM:
        raise GenericError("Parameter 'granularity' expects a value in range [512B, 64MB]")
    if granularity & (granularity - 1):
        raise GenericError("Parameter 'granularity' expects a power of 2")
    source.check_operation(Op.MIRROR_SOURCE)
    target.check_operation(Op.MIRROR_TARGET)
    below = source.backing_chain_next
    sync = "full" if options.sync == "top" and below is None else options.sync
    replaces = options.replaces
    unfiltered = source.skip_implicit_filters()
    if replaces is None and unfiltered is not source:
        # Implicit filters above the source stay where they are.
        replaces = unfiltered.node_name
    if replaces is not None:
        find_replaced(source, replaces)
    if sync in ("incremental", "bitmap"):
        raise GenericError(f"Sync mode '{sync}' not supported")
    if options.target_is_zero and not source.services.manners.mirrors_skip_zeroes:
        zero_target = False
    plan = MirrorPlan(
        granularity,
        options.buf_size,
        base=below if sync == "top" else None,
        none=sync == "none",
        zero_target=zero_target,
        target_is_zero=options.target_is_zero,
        unmap=options.unmap,
        write_blocking=options.write_blocking,
        on_source_error=options.on_source_error,
        on_target_error=options.on_target_error,
    )
    return await _start(
        jobs, MirrorJob, source, target, options.job, plan, backing=backing, replaces=replaces
    )


async def start_active_commit(
    jobs: Listing, top: Node, base: Node, options: JobOptions, on_error: OnError
) -> MirrorJob:
    """Start to commit the active layer `top` into `base`, which finally replaces it.

    :raises QmpError: with QEMU's text
    """
    was_read_only = base.read_only
    if was_read_only:
        await set_read_only(base, False)
    plan = MirrorPlan(0, 0, base=base, on_source_error=on_error, on_target_error=on_error)
    try:
        job = await _start(jobs, ActiveCommitJob, top, base, options, plan, backing=Backing.LEAVE)
    except BaseException:
        if was_read_only:
            await set_read_only(base, True)
        raise
    leaves = base.services.manners.commits_leave_the_base_writable
    job.target_was_read_only = was_read_only and not leaves
    return job


def find_replaced(source: Node, name: str) -> Node:
    """The node called `name`, which a mirror of `source` may replace.

    :raises GenericError: there is none, or replacing it would change what its users see
    """
    node = source.graph.find_node(name)
    if node is None and source.services.manners.replaced_nodes_have_a_name:
        raise GenericError(f"Node name '{name}' not found")
    if node is None:
        if source.services.manners.replaced_nodes_are_named:
            raise GenericError(f"Node name '{name}' not found")
        raise GenericError(f"Failed to find node with node-name='{name}'")
    node.check_operation(Op.REPLACE)
    if not source.can_replace(node):
        raise GenericError(
            f"Cannot replace '{name}' by a node mirrored from '{source.node_name}', because it"
            " cannot be guaranteed that doing so would not lead to an abrupt change of visible"
            " data"
        )
    return node


async def _start(
    jobs: Listing,
    kind: type[MirrorJob],
    source: Node,
    target: Node,
    options: JobOptions,
    plan: MirrorPlan,
    *,
    backing: Backing,
    replaces: str | None = None,
) -> MirrorJob:
    if plan.buffer < 0:
        raise GenericError("Invalid parameter 'buf-size'")
    plan = replace(
        plan,
        granularity=plan.granularity or default_granularity(target),
        buffer=plan.buffer or DEFAULT_BUFFER,
    )
    if source.skip_filters() is target.skip_filters():
        raise GenericError("Can't mirror node into itself")
    graph = source.graph
    is_commit = source.chain_contains(target)
    top = await _insert_filter(source, options.filter_node_name, is_commit)
    top.hold()
    job: MirrorJob | None = None
    try:
        # The source is not to be resized meanwhile.
        job = await kind.create(jobs, top, options, plan)
        job.backing_at_end, job.replaces = backing, replaces
        await _take_target(job, target, is_commit)
        async with write_lock(graph):
            _take_nodes(job, target, is_commit)
    except BaseException:
        await _give_up(top, job)
        raise
    top.unhold()
    job.state.marked.bitmaps.add(job.bitmap)
    job.start()
    return job


async def _insert_filter(source: Node, name: str | None, is_commit: bool) -> Node:
    options = {"driver": "mirror_top"} | ({} if name is None else {"node-name": name})

    opener = partial(MirrorTop.open_for_job, is_commit=is_commit)
    return await insert_filter(source, options, opener, implicit=name is None)


async def _take_target(job: MirrorJob, target: Node, is_commit: bool) -> None:
    perm, shared = WRITE, WRITE_UNCHANGED
    if is_commit:
        if target.length < job.source.length:
            perm |= RESIZE
        shared |= CONSISTENT_READ | WRITE
    elif job.source.chain_contains(target.skip_filters()):
        raise GenericError(
            "Cannot mirror to a filter on top of a node in the source's backing chain"
        )
    backend = await BlockBackend.in_context(
        job.aio_context, target, perm=perm, shared=shared, queues=False
    )
    if not is_commit:
        # the target may be an export of the process that the guest migrates to
        backend.force_allow_inactivate()
    backend.follows_node = True
    if not is_commit:
        assert backend.root is not None
        leaves = job.backing_at_end is Backing.LEAVE
        backend.root.graph_mod = GraphMod.KEPT if leaves else GraphMod.USED
    job.state.backend = backend


def _take_nodes(job: MirrorJob, target: Node, is_commit: bool) -> None:
    shared = CONSISTENT_READ | WRITE_UNCHANGED | WRITE
    job.add_node("source", job.source, NOTHING, shared, GraphMod.KEPT)
    job.add_node("target", target, NOTHING, shared | RESIZE)
    if not is_commit:
        return
    overlay = job.source.overlay_of(target)
    assert overlay is not None
    hold_merged(job, job.source.filter_or_backing, target, overlay)
    freeze_chain(job.top, target)
    job.frozen = target


async def _give_up(top: Node, job: MirrorJob | None) -> None:
    driver = top.driver
    assert isinstance(driver, MirrorTop)
    driver.stop()
    if job is not None:
        await job.give_up()
    refresh_permissions(top)
    await drop_filter(top)
    await release(top)

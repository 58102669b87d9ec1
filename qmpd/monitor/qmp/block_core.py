"""Commands of schema module block-core: the graph, its queries, bitmaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change import blockdev
from qmpd.block.change.activation import set_active
from qmpd.block.change.aio_context import try_change
from qmpd.block.change.children import change_children
from qmpd.block.change.graph_lock import standstill
from qmpd.block.change.reopen import blockdev_reopen
from qmpd.block.io import resize
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.block.query.debug_graph import debug_graph
from qmpd.block.query.info import query_block as block_infos
from qmpd.block.query.info import query_named_block_nodes as node_infos
from qmpd.block.query.stats import query_blockstats as block_stats
from qmpd.errors import GenericError
from qmpd.jobs.core.block_job import BlockJob
from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.monitor.qmp.sockets import with_names

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.profile.models.block_core import (
        BlockdevDelArguments,
        BlockdevSetActiveArguments,
        BlockResizeArguments,
        BlockSetWriteThresholdArguments,
        QueryBlockArguments,
        QueryBlockstatsArguments,
        QueryNamedBlockNodesArguments,
        XBlockdevChangeArguments,
        XBlockdevSetIothreadArguments,
    )


async def query_block(
    context: Context, arguments: QueryBlockArguments | None
) -> list[dict[str, Any]]:
    """All named backends and devices."""
    flat = arguments is not None and bool(arguments.flat)
    return await block_infos(context.machine.graph, flat=flat)


def query_blockstats(
    context: Context, arguments: QueryBlockstatsArguments | None
) -> list[dict[str, Any]]:
    """Counters of all backends, or of all nodes."""
    query_nodes = arguments is not None and bool(arguments.query_nodes)
    return block_stats(context.machine.graph, query_nodes=query_nodes)


async def query_named_block_nodes(
    context: Context, arguments: QueryNamedBlockNodesArguments | None
) -> list[dict[str, Any]]:
    """All nodes, the newest first."""
    flat = arguments is not None and bool(arguments.flat)
    return await node_infos(context.machine.graph, flat=flat)


def x_debug_query_block_graph(context: Context, _: None) -> dict[str, Any]:
    """Everything in the graph, and who holds whom with which permissions."""
    machine = context.machine
    jobs = [(job.id, job.edges, job) for job in machine.jobs.jobs if isinstance(job, BlockJob)]
    return debug_graph(machine.graph, jobs)


async def x_blockdev_change(context: Context, arguments: XBlockdevChangeArguments) -> None:
    """Add a child to a node, or remove one."""
    graph = context.machine.graph
    await change_children(graph, arguments.parent, arguments.child, arguments.node)


async def blockdev_add(context: Context, _: object) -> None:
    """Open a node and what it stands on."""
    options = with_names(context, context.raw)
    await blockdev.blockdev_add(context.machine.graph, options)


async def blockdev_del(context: Context, arguments: BlockdevDelArguments) -> None:
    """Let go of a node that blockdev-add opened."""
    await blockdev.blockdev_del(context.machine.graph, arguments.node_name)


async def blockdev_set_active(context: Context, arguments: BlockdevSetActiveArguments) -> None:
    """Give an image to another process, or take it back."""
    await set_active(context.machine.graph, arguments.node_name, arguments.active)


async def x_blockdev_set_iothread(
    context: Context, arguments: XBlockdevSetIothreadArguments
) -> None:
    """Move a node, and all that hangs together with it, to an iothread or the main loop."""
    async with standstill(context.machine.graph):
        await _set_iothread(context.machine, arguments)


async def _set_iothread(machine: Machine, arguments: XBlockdevSetIothreadArguments) -> None:
    name = arguments.node_name
    node = machine.graph.find_node(name)
    if node is None:
        raise GenericError(f"Failed to find node with node-name='{name}'")
    if not arguments.force and any(edge.kind is CHILD_ROOT for edge in node.parents):
        raise GenericError(
            f"Node {name} is associated with a BlockBackend and could be in use (use force=true to"
            " override this check)"
        )
    if arguments.iothread is None:
        await try_change(node, None)
        return
    thread = machine.objects.iothread(arguments.iothread)
    if thread is None:
        raise GenericError(f"Cannot find iothread {arguments.iothread}")
    await try_change(node, thread.context)


async def reopen(context: Context, _: object) -> None:
    """Change the options of nodes that are open."""
    await blockdev_reopen(context.machine.graph, context.raw["options"])


async def block_resize(context: Context, arguments: BlockResizeArguments) -> None:
    """Change the length of a node (bytes)."""
    graph = context.machine.graph
    node = graph.lookup_device_or_node(arguments.device, arguments.node_name)
    await resize.block_resize(node, arguments.size, arguments.device)


def block_set_write_threshold(context: Context, arguments: BlockSetWriteThresholdArguments) -> None:
    """Have an event when a write reaches beyond a byte of the node."""
    blockdev.set_write_threshold(
        context.machine.graph, arguments.node_name, arguments.write_threshold
    )


HANDLERS: Final[Handlers] = {
    "query-block": query_block,
    "query-blockstats": query_blockstats,
    "query-named-block-nodes": query_named_block_nodes,
    "x-debug-query-block-graph": x_debug_query_block_graph,
    "x-blockdev-change": x_blockdev_change,
    "x-blockdev-set-iothread": x_blockdev_set_iothread,
    "blockdev-add": blockdev_add,
    "blockdev-del": blockdev_del,
    "blockdev-set-active": blockdev_set_active,
    "blockdev-reopen": reopen,
    "block_resize": block_resize,
    "block-set-write-threshold": block_set_write_threshold,
}

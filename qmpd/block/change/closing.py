"""Closing nodes that nothing holds any more (``bdrv_unref``)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.base.newest_first import NewestFirst
from qmpd.block.change.aio_context import go_home
from qmpd.block.change.edges import unlink
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.inheritance import disinherit
from qmpd.block.change.permissions import loosen_permissions
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


async def unref(node: Node) -> None:
    """Close `node`, and what it alone holds, unless something still holds it."""
    if node.is_held():
        return
    async with standstill(node.graph):
        await _close(node)


async def _close(node: Node) -> None:
    closing = [node]
    closed: set[Node] = set()
    while closing:
        current = closing.pop()
        if current.is_held() or current in closed:
            continue
        closed.add(current)
        # a flush may still be under way that a command had begun ahead
        if current.in_flight:
            await current.wait_idle()
        # What cannot be written is lost: closing a node has no way to fail.
        if not current.flags.read_only:
            with suppress(BlockIOError):
                await current.flush()
        await current.driver.close()
        closing += reversed(await _dismantle(current))


async def close_unopened(node: Node) -> None:
    """Close a node that could not be opened, and what it alone holds."""
    for child in await _dismantle(node):
        await unref(child)


async def _dismantle(node: Node) -> list[Node]:
    """Take a closed node out of the graph; returns its former children (``bdrv_close``).

    Those that nothing holds any more are for the caller to close.
    """
    children = []
    async with write_lock(node.graph):
        node.graph.forget(node)
        node.follow(None)
        for edge in list(node.children.values()):
            disinherit(node, edge)
            unlink(node, edge)
            await go_home(edge.node)
            # What is closed next gives up all there is by that.
            if edge.node.is_held():
                loosen_permissions(edge.node)
            children.append(edge.node)
    return children


async def release(node: Node) -> None:
    """Take back one `Node.hold`; the node is closed if nothing else holds it."""
    node.unhold()
    await unref(node)


async def close_all(graph: Graph) -> None:
    """Close everything, parents before children (``bdrv_close_all``).

    What goes wrong with one image, a defect of qmpd included, keeps none of the others from
    being closed; it is raised when all is done.
    """
    failures: list[Exception] = []
    for backend in list(graph.all_backends):
        try:
            await backend.close()
        except Exception as error:
            failures.append(error)
    for node in NewestFirst(graph.nodes()):
        node.monitor_owned = False
    for node in NewestFirst(graph.nodes()):
        if graph.holds(node):
            try:
                await unref(node)
            except Exception as error:
                failures.append(error)
    if failures:
        raise failures[0]

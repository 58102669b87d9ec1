"""Command blockdev-set-active: giving images to another process, and taking them back."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from qmpd.block.change.drain import drained
from qmpd.block.change.graph_lock import standstill
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.model.walk import top_nodes
from qmpd.block.permission_bits import WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


async def set_active(graph: Graph, name: str | None, active: bool) -> None:
    """Activate or inactivate a node, or all of them (None).

    :raises QmpError: there is no such node, or it cannot be done
    """
    if not active:
        async with standstill(graph):
            await _set_active(graph, name, active)
        return
    await _set_active(graph, name, active)


async def _set_active(graph: Graph, name: str | None, active: bool) -> None:
    if name is None:
        await _set_all(graph, active)
        return
    node = graph.find_node(name)
    if node is None:
        raise GenericError(f"Failed to find node with node-name='{name}'")
    if active:
        await activate(node)
    else:
        await inactivate(node)


async def _set_all(graph: Graph, active: bool) -> None:
    for node in list(top_nodes(graph)):
        if active:
            await activate(node)
        elif not _has_active_parent(node):
            try:
                await _inactivate(node)
            except QmpError as error:
                raise _failed("all nodes", error) from None


def _has_active_parent(node: Node) -> bool:
    parents = [edge.parent_node for edge in node.parents]
    return any(parent is not None and parent.active for parent in parents)


async def activate(node: Node) -> None:
    """Take a node back, and what it stands on.

    :raises QmpError: somebody objects, or the image cannot be read anew
    """
    for edge in list(node.children.values()):
        await activate(edge.node)
    if not node.active:
        await _take_back(node)
    try:
        for edge in node.parents:
            if (user := edge.user) is not None:
                user.node_activated()
    except QmpError:
        node.flags = node.flags._replace(active=False)
        raise


async def _take_back(node: Node) -> None:
    node.flags = node.flags._replace(active=True)
    try:
        refresh_permissions(node)
        await node.driver.activate()
        for bitmap in node.bitmaps:
            bitmap.skip_store = False
        node.refresh_length()
    except BaseException:
        node.flags = node.flags._replace(active=False)
        loosen_permissions(node)
        raise


async def inactivate(node: Node) -> None:
    """Give a node up, and what only it stands on.

    :raises GenericError: it has an active parent, or is being written
    """
    if _has_active_parent(node):
        raise GenericError("Node has active parent node")
    try:
        async with standstill(node.graph):
            await _inactivate(node)
    except QmpError as error:
        raise _failed("node", error) from None


def _failed(what: str, error: QmpError) -> GenericError:
    code = error.errno if isinstance(error, BlockIOError) else errno.EPERM
    return GenericError(f"Failed to inactivate {what}: {os.strerror(code)}")


async def _inactivate(node: Node) -> None:
    if node.active:
        await drained(node.graph, [node], _give_up(node))


async def _give_up(node: Node) -> None:
    await node.driver.inactivate()
    for edge in node.parents:
        if (user := edge.user) is not None:
            user.node_inactivated()
    perm, _ = node.cumulative_permissions()
    if perm & (WRITE | WRITE_UNCHANGED):
        raise BlockIOError(errno.EPERM)
    node.flags = node.flags._replace(active=False)
    loosen_permissions(node)
    for edge in list(node.children.values()):
        if not _has_active_parent(edge.node):
            await _inactivate(edge.node)

"""Command x-blockdev-change: children of a quorum come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.change.aio_context import go_home
from qmpd.block.change.closing import unref
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.model.child_list import ChildList
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


async def change_children(graph: Graph, parent: str, child: str | None, node: str | None) -> None:
    """Remove child `child` of `parent`, or make `node` a new one.

    :raises GenericError: in QEMU's words
    """
    async with standstill(graph):
        async with write_lock(graph):
            former = _change_children(graph, parent, child, node)
            if former is not None:
                await go_home(former)
        if former is not None:
            await unref(former)


def _change_children(graph: Graph, parent: str, child: str | None, node: str | None) -> Node | None:
    """Do `change_children`; returns the former child, which is still to be closed."""
    parent_node = graph.lookup(parent)
    if (child is None) == (node is None):
        raise GenericError(
            "Either child or node must be specified"
            if child is None
            else "The parameters child and node are in conflict"
        )
    driver = parent_node.driver
    if child is not None:
        edge = parent_node.children.get(child)
        if edge is None:
            raise GenericError(f"Node '{parent}' does not have child '{child}'")
        if not isinstance(driver, ChildList):
            raise GenericError(
                f"The node {parent_node.device_or_node_name} does not support removing a child"
            )
        return driver.del_child(edge)
    assert node is not None
    new = graph.find_node(node)
    if new is None:
        raise GenericError(f"Node '{node}' not found")
    if not isinstance(driver, ChildList):
        raise GenericError(
            f"The node {parent_node.device_or_node_name} does not support adding a child"
        )
    if new.parents:
        raise GenericError(f"The node {new.node_name} already has a parent")
    driver.check_add_child()
    driver.add_child(new)
    return None

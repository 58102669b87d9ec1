"""Commands of the block layer that concern one node: blockdev-add, blockdev-del and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.block.change.closing import unref
from qmpd.block.change.opening import open_node
from qmpd.block.model.blockers import Op
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


async def blockdev_add(graph: Graph, options: Mapping[str, Any]) -> Node:
    """Command blockdev-add.

    :raises QmpError: QEMU's texts
    """
    if "node-name" not in options:
        raise GenericError("'node-name' must be specified for the root node")
    node = await open_node(graph, options, active=not graph.incoming)
    node.monitor_owned = True
    return node


async def blockdev_del(graph: Graph, name: str) -> None:
    """Command blockdev-del: the checks in QEMU's order, then the node is let go.

    :raises GenericError: there is none, or it is in use
    """
    node = graph.find_node(name)
    if node is None:
        raise GenericError(f"Failed to find node with node-name='{name}'")
    if any(edge.kind is CHILD_ROOT for edge in node.parents):
        raise GenericError(f"Node {name} is in use")
    node.check_operation(Op.DRIVE_DEL)
    if not node.monitor_owned:
        raise GenericError(f"Node {name} is not owned by the monitor")
    if node.parents or node.is_kept_open:
        raise GenericError(f"Block device {name} is in use")
    node.monitor_owned = False
    await unref(node)


def set_write_threshold(graph: Graph, name: str, threshold: int) -> None:
    """Command block-set-write-threshold; 0 takes the threshold away.

    :raises GenericError: there is no such node
    """
    node = graph.find_node(name)
    if node is None:
        raise GenericError(f"Device '{name}' not found")
    node.write_threshold = threshold

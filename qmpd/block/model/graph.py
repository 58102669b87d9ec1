"""The block graph of one machine."""

from __future__ import annotations

from typing import TypeAlias

from qmpd.block.model.node import Node
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.block.model.table import NodeTable
from qmpd.errors import GenericError

Graph: TypeAlias = NodeTable[Node]


def lookup_root(graph: Graph, name: str) -> Node:
    """As `NodeTable.lookup`, for commands that work on a whole disk (``bdrv_lookup_bs``).

    :raises GenericError: it is not one: another node, or a job, holds it; it has no medium
    """
    node = graph.lookup(name)
    if any(edge.kind is not CHILD_ROOT for edge in node.parents):
        raise GenericError("Need a root block node")
    if not node.is_inserted:
        raise GenericError("Device has no medium")
    return node

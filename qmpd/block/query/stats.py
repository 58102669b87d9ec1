"""Command query-blockstats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.io.backends import shown_backends
from qmpd.block.io.stats import COUNTERS, FAILURES
from qmpd.block.permission_bits import DATA, FILTERED, PRIMARY

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

_NODE_STATS: Final[Mapping[str, Any]] = {
    **dict.fromkeys([*COUNTERS, *FAILURES], 0),
    "account_invalid": False,
    "account_failed": False,
}


def _node_stats(node: Node, *, chain: bool) -> dict[str, Any]:
    """BlockStats of a node; with what lies below it in its `chain`, as backends show it."""
    if chain:
        node = node.skip_implicit_filters()
    info: dict[str, Any] = {
        "node-name": node.node_name,
        "stats": {
            **_NODE_STATS,
            "wr_highest_offset": node.wr_highest_offset,
            "timed_stats": [],
        },
    }
    specific = node.driver.specific_stats()
    if specific is not None:
        info["driver-specific"] = specific
    storage = _storage_child(node)
    if storage is not None:
        info["parent"] = _node_stats(storage, chain=chain)
    below = node.filter_or_backing
    if chain and below is not None and not node.driver.gone:
        info["backing"] = _node_stats(below, chain=True)
    return info


def _storage_child(node: Node) -> Node | None:
    """The child that has the node's data: its own file, or the only child with data."""
    edges = node.children.values()
    for edge in edges:
        if edge.role & PRIMARY and edge.role & (DATA | FILTERED):
            return edge.node
    data = [edge.node for edge in edges if edge.role & DATA]
    return data[0] if len(data) == 1 else None


def _backend_stats(backend: BlockBackend) -> dict[str, Any]:
    info: dict[str, Any] = {"device": backend.name}
    if backend.device_id is not None:
        info["qdev"] = backend.device_id
    stats = backend.stats.info()
    if backend.node is not None:
        node = backend.node.skip_implicit_filters()
        info |= _node_stats(node, chain=True)
        stats["wr_highest_offset"] = node.wr_highest_offset
    info["stats"] = stats
    return info


def query_blockstats(graph: Graph, *, query_nodes: bool) -> list[dict[str, Any]]:
    """Command query-blockstats: all backends with a name or device, or all nodes; oldest first."""
    if query_nodes:
        return [_node_stats(node, chain=False) for node in graph.nodes()]
    return [_backend_stats(backend) for backend in shown_backends(graph)]

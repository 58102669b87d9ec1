"""The walk over all nodes at the top of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qmpd.block.model.parent import CHILD_ROOT

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


def top_nodes(graph: Graph) -> Iterator[Node]:
    """The nodes in backends, then those that the monitor owns and no backend has (``bdrv_next``).

    Backends come the oldest first; a node in several of them comes with the one that it was put
    into last.  QEMU goes on through the monitor's nodes behind the node that it came to last: one
    that the monitor does not own is the end of the walk.  Whoever changes the graph on the way
    takes a list of it first.
    """
    last: Node | None = None
    for backend in graph.all_backends:
        node = backend.node
        if node is not None and _first_user(node) is backend:
            last = node
            yield node
    owned = [node for node in graph.nodes() if node.monitor_owned]
    if last is not None and not graph.services.manners.walks_begin_anew:
        owned = owned[owned.index(last) + 1 :] if last.monitor_owned else []
    yield from (node for node in owned if _first_user(node) is None)


def _first_user(node: Node) -> object:
    """The backend that `node` was put into last (``bdrv_first_blk``)."""
    return next((edge.user for edge in node.parents if edge.kind is CHILD_ROOT), None)

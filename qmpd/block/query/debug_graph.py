"""Command x-debug-query-block-graph: nodes, backends and jobs, and who holds whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qmpd.base.newest_first import NewestFirst
from qmpd.block.io.backends import backends
from qmpd.block.permission_bits import GRAPH_MOD, NAMES, GraphMod

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Edge


class _Listing:
    """XDbgBlockGraph under way: ids are given in the order in which things are met."""

    def __init__(self, *, graph_mod: bool) -> None:
        self._graph_mod = graph_mod
        self._ids: dict[object, int] = {}
        self.nodes: NewestFirst[dict[str, Any]] = NewestFirst()
        self.edges: NewestFirst[dict[str, Any]] = NewestFirst()

    def identify(self, thing: object) -> int:
        """The id of `thing`, a new one where it has none."""
        return self._ids.setdefault(thing, len(self._ids) + 1)

    def add_node(self, thing: object, kind: str, name: str) -> None:
        """List a node, a backend or a job."""
        self.nodes.add({"id": self.identify(thing), "type": kind, "name": name})

    def _names(self, permissions: int, graph_mod: bool) -> list[str]:
        """Names of permissions; QEMU lists the highest bit first."""
        names = [name.replace(" ", "-") for bit, name in reversed(NAMES) if permissions & bit]
        return [GRAPH_MOD, *names] if graph_mod and self._graph_mod else names

    def add_edge(self, edge: Edge) -> None:
        """List who holds whom."""
        self.edges.add(
            {
                "parent": self.identify(edge.parent),
                "child": self.identify(edge.node),
                "name": edge.name,
                "perm": self._names(edge.perm, edge.graph_mod is GraphMod.USED),
                "shared-perm": self._names(edge.shared, edge.graph_mod is GraphMod.SHARED),
            },
        )


def debug_graph(graph: Graph, jobs: Iterable[tuple[str, list[Edge], object]]) -> dict[str, Any]:
    """The whole graph, as QEMU lists it: everything in reverse.

    :param jobs: id, edges from the newest on, and the job itself, the newest job first
    """
    listing = _Listing(graph_mod=graph.services.manners.knows_graph_mod)
    for backend in backends(graph):
        name = backend.name or backend.device_id or ""
        listing.add_node(backend, "block-backend", name)
        if backend.root is not None:
            listing.add_edge(backend.root)
    for job_id, edges, job in jobs:
        listing.add_node(job, "block-job", job_id)
        for edge in edges:
            listing.add_edge(edge)
    for node in graph.nodes():
        listing.add_node(node, "block-driver", node.node_name)
        for edge in reversed(node.children.values()):
            listing.add_edge(edge)
    return {"nodes": [*listing.nodes], "edges": [*listing.edges]}

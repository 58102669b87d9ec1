"""Counters of I/O (QEMU's BlockAcctStats) and what query-blockstats tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.io.latency import LatencyHistogram
from qmpd.block.io.timed_average import TimedStats
from qmpd.block.permission_bits import DATA, FILTERED, PRIMARY

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

KINDS: Final = ("rd", "wr", "zone_append", "flush", "unmap")
"""Kinds of requests that are counted."""

HARNESS_LATENCY: Final = 1_000_000
"""Nanoseconds that every request is said to take where a harness steps the guest's clock."""

_COUNTERS: Final = (
    "rd_bytes wr_bytes zone_append_bytes unmap_bytes rd_operations wr_operations"
    " zone_append_operations flush_operations unmap_operations rd_total_time_ns"
    " wr_total_time_ns zone_append_total_time_ns flush_total_time_ns unmap_total_time_ns"
    " wr_highest_offset rd_merged wr_merged zone_append_merged unmap_merged"
).split()
_FAILURES: Final = [f"{how}_{kind}_operations" for how in ("failed", "invalid") for kind in KINDS]


class BlockAcctStats:
    """The counters of one backend.

    :param now: its clock, nanoseconds
    :param latency: how long every request is said to take, nanoseconds; None for what it took
    """

    def __init__(self, now: Callable[[], int], latency: int | None = None) -> None:
        self._now = now
        self._latency = latency
        self._last_access = 0
        self.account_invalid = True
        self.account_failed = True
        self.histograms: dict[str, LatencyHistogram] = {}
        """By kind of request, where they are collected."""
        self.intervals: list[TimedStats] = []
        """What is told of the last few seconds, of each interval asked for."""
        self.counters: dict[str, int] = dict.fromkeys([*_COUNTERS, *_FAILURES], 0)

    def done(self, kind: str, length: int, duration: int) -> None:
        """A request succeeded; bytes and nanoseconds."""
        if kind != "flush":
            self.counters[f"{kind}_bytes"] += length
        self.counters[f"{kind}_operations"] += 1
        self._timed(kind, duration, counts=True)

    def _timed(self, kind: str, duration: int, *, counts: bool) -> None:
        if self._latency is not None:
            duration = self._latency
        histogram = self.histograms.get(kind)
        if histogram is not None:
            histogram.account(duration)
        if counts:
            self.counters[f"{kind}_total_time_ns"] += duration
            self._last_access = self._now()
            for interval in self.intervals:
                interval.account(kind, duration)

    def failed(self, kind: str, duration: int) -> None:
        """A request failed: histograms count it even where failures do not."""
        self.counters[f"failed_{kind}_operations"] += 1
        self._timed(kind, duration, counts=self.account_failed)

    def invalid(self, kind: str) -> None:
        """A request was malformed."""
        self.counters[f"invalid_{kind}_operations"] += 1
        if self.account_invalid:
            self._last_access = self._now()

    def add_interval(self, seconds: int) -> None:
        """Tell of the last `seconds` too."""
        self.intervals.append(TimedStats(seconds, self._now))

    def info(self) -> dict[str, Any]:
        """BlockDeviceStats, without what the node adds."""
        members: dict[str, Any] = {name: self.counters[name] for name in _COUNTERS}
        if self._last_access:
            members["idle_time_ns"] = self._now() - self._last_access
        members |= {name: self.counters[name] for name in _FAILURES}
        members["account_invalid"] = self.account_invalid
        members["account_failed"] = self.account_failed
        members["timed_stats"] = [interval.info() for interval in self.intervals]
        for kind, histogram in self.histograms.items():
            members[f"{kind}_latency_histogram"] = histogram.info()
        return members


_NODE_STATS: Final[Mapping[str, Any]] = {
    **dict.fromkeys([*_COUNTERS, *_FAILURES], 0),
    "account_invalid": False,
    "account_failed": False,
}


def _node_stats(node: Node, *, chain: bool) -> dict[str, Any]:
    """BlockStats of a node; with what lies below it in its `chain`, as backends show it."""
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
    if chain and below is not None:
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
        return [_node_stats(node, chain=False) for node in reversed(list(graph.nodes()))]
    return [_backend_stats(backend) for backend in graph.shown_backends()]

"""What is measured, as one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.daemon import Daemon, request

TIB: Final = 1 << 40
GIB: Final = 1 << 30


@dataclass(frozen=True)
class Measure:
    """One figure.

    :param run: measures a fresh daemon, in `unit`
    :param target: what the ratio to QEMU's must reach: at most it, or at least where more is better
    """

    name: str
    unit: str
    run: Callable[[Daemon], float]
    more_is_better: bool = False
    target: float | None = None
    limit: float | None = None
    """Absolute bound on qmpd's own figure, in `unit`."""


def _middle(times: list[float]) -> float:
    return times[len(times) // 2]


def _node(daemon: Daemon, size: int = 1 << 26, bitmaps: int = 1, granularity: int = 65536) -> None:
    daemon.execute("blockdev-add", driver="null-co", **{"node-name": "n0"}, size=size)
    for number in range(bitmaps):
        daemon.execute(
            "block-dirty-bitmap-add", node="n0", name=f"b{number}", granularity=granularity
        )


def _start(daemon: Daemon) -> float:
    return daemon.start_seconds * 1e3


def _memory(daemon: Daemon) -> float:
    return daemon.resident_bytes() / (1 << 20)


def _query_version(daemon: Daemon) -> float:
    return _middle(daemon.latencies(request("query-version"), 3000)) * 1e6


def _bitmap_clear(daemon: Daemon) -> float:
    _node(daemon)
    clear = request("block-dirty-bitmap-clear", node="n0", name="b0")
    return _middle(daemon.latencies(clear, 3000)) * 1e6


def _pipelined(daemon: Daemon) -> float:
    return daemon.pipelined(request("query-version"), 20000)


def _pipelined_clear(daemon: Daemon) -> float:
    _node(daemon)
    return daemon.pipelined(request("block-dirty-bitmap-clear", node="n0", name="b0"), 10000)


def _transaction(daemon: Daemon) -> float:
    _node(daemon, bitmaps=4)
    kinds = ("clear", "disable", "enable", "clear")
    actions = [
        {"type": f"block-dirty-bitmap-{kinds[i % 4]}", "data": {"node": "n0", "name": f"b{i % 4}"}}
        for i in range(100)
    ]
    transaction = request("transaction", actions=actions)
    return _middle(daemon.latencies(transaction, 200)) * 1e3


def _extents(daemon: Daemon, granularity: int) -> None:
    """16 TiB with bitmap `source`, 200 extents of 1 GiB dirty, and bitmap `target`, empty."""
    _node(daemon, 16 * TIB, bitmaps=0)
    for name in ("source", "target"):
        daemon.execute("block-dirty-bitmap-add", node="n0", name=name, granularity=granularity)
    daemon.execute("block-dirty-bitmap-disable", node="n0", name="target")
    for number in range(200):
        line = f'qemu-io n0 "write -q -z {number * 80 * GIB} 1G"'
        daemon.execute("human-monitor-command", **{"command-line": line})


def _on_sparse(granularity: int, timed: bytes, count: int) -> Callable[[Daemon], float]:
    def run(daemon: Daemon) -> float:
        _extents(daemon, granularity)
        return _middle(daemon.latencies(timed, count)) * 1e3

    return run


def _sparse_clear(granularity: int) -> Callable[[Daemon], float]:
    """Clear needs something to clear each time: it is timed after a merge."""

    def run(daemon: Daemon) -> float:
        _extents(daemon, granularity)
        merge = request("block-dirty-bitmap-merge", node="n0", target="target", bitmaps=["source"])
        clear = request("block-dirty-bitmap-clear", node="n0", name="target")
        times = []
        for _ in range(5):
            daemon.latencies(merge, 1)
            times += daemon.latencies(clear, 1)
        return _middle(sorted(times)) * 1e3

    return run


def _nodes(daemon: Daemon) -> float:
    for number in range(1000):
        daemon.execute("blockdev-add", driver="null-co", **{"node-name": f"n{number}"})
    return _middle(daemon.latencies(request("query-named-block-nodes"), 20)) * 1e3


_MERGE: Final = request("block-dirty-bitmap-merge", node="n0", target="target", bitmaps=["source"])
_SHA256: Final = request("x-debug-block-dirty-bitmap-sha256", node="n0", name="source")

MEASURES: Final = (
    Measure("start to greeting", "ms", _start, limit=400),
    Measure("resident memory", "MiB", _memory),
    Measure("query-version, p50", "us", _query_version, target=0.5),
    Measure("bitmap-clear, p50", "us", _bitmap_clear, target=0.5),
    Measure("query-version, pipelined", "1/s", _pipelined, more_is_better=True, target=30),
    Measure("bitmap-clear, pipelined", "1/s", _pipelined_clear, more_is_better=True, target=8),
    Measure("transaction of 100 actions", "ms", _transaction, target=1 / 20),
    Measure("query-named-block-nodes, 1000", "ms", _nodes, target=0.4),
)
"""On the storage daemons."""

SPARSE: Final = tuple(
    measure
    for granularity in (4096, 65536)
    for measure in (
        Measure(
            f"merge, 16 TiB at {granularity >> 10} KiB",
            "ms",
            _on_sparse(granularity, _MERGE, 5),
            target=1 / 100,
        ),
        Measure(f"clear, 16 TiB at {granularity >> 10} KiB", "ms", _sparse_clear(granularity)),
        Measure(
            f"sha256, 16 TiB at {granularity >> 10} KiB",
            "ms",
            _on_sparse(granularity, _SHA256, 3),
            target=0.9,
        ),
    )
)
"""On the system emulators: guest writes make the extents, which storage daemons have not."""

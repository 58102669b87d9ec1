"""A graph with one node, its bitmaps, and jobs: what the tests of state act upon."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.rules import add, find
from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.model.graph import Graph
from qmpd.block.model.node import Node
from qmpd.jobs.core.job_list import JobTable
from qmpd.loop.clock import VirtualClock
from tests.support.services import services


class World:
    """A graph whose node ``n`` has 1 MiB; events are collected."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.events: list[tuple[str, Mapping[str, object] | None]] = []
        self.graph = Graph(services(self.clock, emit=self._emit))
        self.jobs = JobTable(emit=self._emit, clock=self.clock)
        self.node = self.blockdev("n", 1 << 20)

    def _emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        self.events.append((name, data))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the block layer to its end."""
        return self.clock.run(coroutine)

    def blockdev(self, name: str, size: int) -> Node:
        """A null-co node of `size` bytes."""
        options = {"driver": "null-co", "node-name": name, "size": size}
        node: Node = self.run(blockdev_add(self.graph, options))
        return node

    def add(self, name: str, node: str = "n", **more: Any) -> DirtyBitmap:
        """A bitmap."""
        return add(self.graph, node, name, **more)[1]

    def bitmap(self, name: str, node: str = "n") -> DirtyBitmap:
        """A bitmap that is there."""
        owner = self.graph.find_node(node)
        assert owner is not None
        found = find(owner, name)
        assert found is not None
        return found

    def state(self) -> list[tuple[object, ...]]:
        """All there is to know of all bitmaps, in order."""
        return [
            (
                node.node_name,
                id(bitmap),
                bitmap.name,
                bitmap.size,
                bitmap.granularity,
                bitmap.enabled,
                bitmap.persistent,
                bitmap.readonly,
                bitmap.inconsistent,
                bitmap.busy,
                bitmap.skip_store,
                id(bitmap.successor),
                tuple(bitmap.extents()),
            )
            for node in self.graph.nodes()
            for bitmap in node.bitmaps
        ]

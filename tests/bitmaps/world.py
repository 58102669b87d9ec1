"""A machine with one node, its bitmaps, and jobs: what the tests of state act upon."""

from __future__ import annotations

from typing import Any

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.rules import add, find
from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.model.node import Node
from tests.support.machines import TestMachine


class World(TestMachine):
    """A machine whose node ``n`` has 1 MiB."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = self.machine.jobs
        self.node = self.blockdev("n", 1 << 20)

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

"""A machine for tests of the block layer."""

from __future__ import annotations

from typing import Any

from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.block.images import MemoryStorage, Storage
from qmpd.block.model.node import Node
from tests.support.machines import TestMachine


class World(TestMachine):
    """A machine whose nodes are made without a monitor.

    :param storage: where its images live; memory if absent
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self.storage = MemoryStorage() if storage is None else storage
        super().__init__(self.storage)

    def file(self, name: str, size: int = 0, fill: bytes = b"") -> None:
        image = self.storage.create(name)
        image.truncate(size)
        if fill:
            image.pwrite(0, fill)
        image.close()

    def add(self, driver: str, node_name: str, **options: Any) -> Node:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        node: Node = self.run(
            blockdev_add(self.graph, {"driver": driver, "node-name": node_name, **named})
        )
        return node

    def delete(self, name: str) -> None:
        self.run(blockdev_del(self.graph, name))

    def names(self) -> list[str]:
        return [node.node_name for node in self.graph.nodes()]

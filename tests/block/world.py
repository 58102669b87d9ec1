"""A graph in memory for tests."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.block.images import MemoryStorage, Storage
from qmpd.block.model.graph import Graph
from qmpd.block.model.node import Node
from qmpd.loop.clock import VirtualClock
from tests.support.services import services


class World:
    """A graph on a virtual clock; its events are kept.

    :param storage: where its images live; memory if absent
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self.clock = VirtualClock()
        self.events: list[tuple[str, Mapping[str, object] | None]] = []
        self.storage = MemoryStorage() if storage is None else storage
        self.graph = Graph(services(self.clock, self.storage, self._emit))

    def _emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        self.events.append((name, data))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.clock.run(coroutine)

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

"""A machine made from what `qmpd.sim.state.describe` has told of another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qmpd.base.run_state import RunState
from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.change.aio_context import try_change
from qmpd.block.change.opening import open_node
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.io_limits import set_io_limits
from qmpd.block.throttle.limits import ThrottleConfig

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.machine.machine import Machine
    from qmpd.machine.objects import ObjectContainer


async def rebuild(machine: Machine, description: Mapping[str, Any]) -> None:
    """Make everything that is described, in a machine that has nothing yet but its files.

    :raises QmpError: something cannot be made: an image does not open
    """
    for entry in description["objects"]:
        properties = dict(entry)
        qom_type, object_id = properties.pop("qom-type"), properties.pop("id")
        machine.objects.add(qom_type, object_id, properties)
    nodes = _Nodes(machine.graph, machine.objects)
    for entry in description["nodes"]:
        await nodes.open(entry)
    for entry in description["backends"]:
        await _add_backend(nodes, entry)
    for entry in description["bitmaps"]:
        node = nodes.find(entry["node"], entry["path"])
        bitmap = DirtyBitmap(
            node.length, entry["granularity"], entry["name"], enabled=not entry["disabled"]
        )
        node.bitmaps.add(bitmap)
        for offset, length in entry["extents"]:
            bitmap.set(offset, length)
    machine.run_state = RunState(description["run-state"])


class _Nodes:
    """Nodes by the names that they had: those that the machine has made up are others now."""

    def __init__(self, graph: Graph, objects: ObjectContainer) -> None:
        self.graph = graph
        self._objects = objects
        self._nodes: dict[str, Node] = {}

    async def open(self, entry: Mapping[str, Any]) -> None:
        """Open a node that stands alone."""
        node = await open_node(self.graph, self._present(entry["options"]))
        node.monitor_owned = bool(entry["owned"])
        self._nodes[entry["name"]] = node
        name = entry.get("iothread")
        thread = None if name is None else self._objects.iothread(name)
        if thread is not None:
            await try_change(node, thread.context)

    def _present(self, options: Any) -> Any:
        """Options with the names that nodes have now."""
        if isinstance(options, dict):
            return {name: self._present(value) for name, value in options.items()}
        if isinstance(options, list):
            return [self._present(value) for value in options]
        if isinstance(options, str) and options.startswith("#") and options in self._nodes:
            return self._nodes[options].node_name
        return options

    def find(self, name: str, path: Sequence[str] = ()) -> Node:
        """The node that had a name, or one below it.

        :raises LookupError: there is none
        """
        node = self._nodes[name]
        for child in path:
            node = node.children[child].node
        return node


async def _add_backend(nodes: _Nodes, entry: Mapping[str, Any]) -> None:
    if entry["node"] is None:
        backend = BlockBackend(nodes.graph, entry["name"])
    else:
        backend = await BlockBackend.on(nodes.find(entry["node"]), name=entry["name"])
    backend.enable_write_cache = bool(entry["write-cache"])
    if "throttle" in entry:
        config = ThrottleConfig()
        config.update(entry["throttle"]["limits"])
        group = entry["throttle"]["group"]
        await set_io_limits(backend, config, group, default_group=group)

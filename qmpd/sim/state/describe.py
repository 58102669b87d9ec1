"""A machine in plain values: what it is made of, so that it can be made again.

Nodes are told by the options with which blockdev-add would open them now: those that they were
given, with the children that they have.  A child that has a name and a life of its own is told by
name; one that was made for its parent is told inside it; one that the image names, a backing file,
is left to be found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.filename import backing_overridden
from qmpd.block.throttle.limits import limits_of
from qmpd.errors import GenericError
from qmpd.machine.objects import IOThread, ThrottleGroupObject

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.machine.machine import Machine
    from qmpd.machine.objects import UserObject


def describe(machine: Machine) -> dict[str, Any]:
    """What there is in a machine, in an order in which it can be made.

    :returns: ``objects``, ``nodes``, ``backends``, ``bitmaps``, ``run-state``; JSON values
    :raises GenericError: there is something that cannot be told so: a device, a node that two
        others share and that has no name
    """
    if any(machine.devices):
        raise GenericError("Devices that device_add has made cannot be saved")
    graph = machine.graph
    nodes = _Nodes(graph)
    return {
        "objects": [_object(entry) for entry in machine.objects.objects.values()],
        "nodes": [nodes.tell(node) for node in nodes.in_order()],
        "backends": [_backend(backend) for backend in graph.backends.values()],
        "bitmaps": [
            {**nodes.place(node), **_bitmap(bitmap)}
            for node in graph.nodes()
            for bitmap in reversed(node.bitmaps)
            if bitmap.name is not None and not bitmap.persistent
        ],
        "run-state": machine.run_state.value,
    }


class _Nodes:
    """The nodes of a graph as options."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._told: set[Node] = set()

    def in_order(self) -> Iterator[Node]:
        """The nodes with a life of their own, those that others refer to first."""
        seen: set[Node] = set()

        def visit(node: Node) -> Iterator[Node]:
            if node in seen:
                return
            seen.add(node)
            for edge in node.children.values():
                yield from visit(edge.node)
            if self.stands_alone(node):
                yield node

        for node in self._graph.nodes():
            yield from visit(node)

    @staticmethod
    def stands_alone(node: Node) -> bool:
        """Whether it is told by itself: it was not made for its parent."""
        return node.monitor_owned or node.inherits_from is None

    def tell(self, node: Node) -> dict[str, Any]:
        """Tell a node that stands alone."""
        return {
            "name": node.node_name,
            "owned": node.monitor_owned,
            "options": self.options(node),
            "iothread": None if node.aio_context is None else node.aio_context.name,
        }

    def options(self, node: Node) -> dict[str, Any]:
        """Tell a node by its options.

        :raises GenericError: it has no name and has been told already
        """
        if node in self._told:
            raise GenericError(
                f"Node '{node.node_name}' is shared and has no name of its own: it cannot be saved"
            )
        self._told.add(node)
        given = node.options.given
        children = {edge.name: edge.node for edge in node.children.values()}
        options = {
            name: _plain(value)
            for name, value in given.items()
            if name not in children and name not in ("children", "backing")
        }
        if not node.node_name.startswith("#"):
            options["node-name"] = node.node_name
        options["driver"] = node.driver.format_name
        if self.stands_alone(node) and node.read_only != bool(given.get("read-only")):
            # an image that has become another's backing file is open for reading only
            options["read-only"] = node.read_only
        if any(name.startswith("children.") for name in children):
            options["children"] = [self._child(child) for child in children.values()]
            return options
        for name, child in children.items():
            # a backing file that nobody has named is opened again by what the image says of it
            implicit = name == "backing" and child.node_name.startswith("#")
            if not implicit or self.stands_alone(child):
                options[name] = self._child(child)
        if "backing" not in children and backing_overridden(node):
            options["backing"] = None
        return options

    def _child(self, node: Node) -> str | dict[str, Any]:
        return node.node_name if self.stands_alone(node) else self.options(node)

    def place(self, node: Node) -> dict[str, Any]:
        """Where a node is: the name of one that stands alone, and the way from there."""
        path: list[str] = []
        while not self.stands_alone(node):
            parent = node.inherits_from
            assert parent is not None
            path.insert(0, next(e.name for e in parent.children.values() if e.node is node))
            node = parent
        return {"node": node.node_name, "path": path}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise GenericError(f"An option cannot be saved: {value!r}")


def _object(entry: UserObject) -> dict[str, Any]:
    told: dict[str, Any] = {"qom-type": entry.qom_type, "id": entry.id}
    if isinstance(entry, ThrottleGroupObject):
        told["limits"] = limits_of(entry.config)
    elif isinstance(entry, IOThread):
        told |= {name.replace("_", "-"): n for name, n in asdict(entry.parameters).items()}
    return told


def _backend(backend: object) -> dict[str, Any]:
    assert isinstance(backend, BlockBackend)
    told: dict[str, Any] = {
        "name": backend.name,
        "node": None if backend.node is None else backend.node.node_name,
        "write-cache": backend.enable_write_cache,
    }
    if backend.throttle is not None:
        group = backend.throttle.group
        told["throttle"] = {"group": group.name, "limits": limits_of(group.config)}
    return told


def _bitmap(bitmap: DirtyBitmap) -> dict[str, Any]:
    return {
        "name": bitmap.name,
        "granularity": bitmap.granularity,
        "disabled": not bitmap.enabled,
        "extents": [list(extent) for extent in bitmap.extents()],
    }

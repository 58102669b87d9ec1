"""Internal snapshots of several disks: what QEMU's snapshot-* jobs and `info snapshots` do to them.

Disks are named by their nodes.  A node whose driver has no snapshots leaves them to its primary
child, as long as that is all it stands on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from qmpd.block.model.families import Snapshots
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.block.model.walk import top_nodes
from qmpd.block.permission_bits import DATA, FILTERED, METADATA
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


class SnapshotHolder(NamedTuple):
    """A node whose image keeps snapshots, and its driver."""

    node: Node
    driver: Snapshots


def snapshot_holder(node: Node) -> SnapshotHolder | None:
    """The node whose image has the snapshots of `node`; None where there can be none."""
    while not isinstance(driver := node.driver, Snapshots):
        primary = node.primary
        if primary is None:
            return None
        others = (e.node for e in node.children.values() if e.role & (DATA | METADATA | FILTERED))
        if any(other is not primary for other in others):
            return None
        node = primary
    return SnapshotHolder(node, driver)


def can_snapshot(node: Node) -> bool:
    """Whether snapshots of `node` can be taken now."""
    if node.read_only or not node.active:
        return False
    holder = snapshot_holder(node)
    return holder is not None and not holder.node.read_only and holder.node.active


def snapshot_list(node: Node) -> list[dict[str, Any]]:
    """The SnapshotInfo of each of a node's snapshots."""
    holder = snapshot_holder(node)
    return [] if holder is None else holder.driver.snapshot_list()


def check_listed(node: Node) -> None:
    """Check that snapshots of `node` can be looked for.

    :raises GenericError: there can be none
    """
    holder = snapshot_holder(node)
    if holder is None or not holder.driver.lists_snapshots:
        raise GenericError(f"Failed to get a snapshot list: {os.strerror(errno.ENOTSUP)}")


def find_snapshot(node: Node, name: str) -> dict[str, Any] | None:
    """The first snapshot of a name, as SnapshotInfo."""
    return next((found for found in snapshot_list(node) if found["name"] == name), None)


def takes_part(node: Node) -> bool:
    """Whether a disk that nobody named has to have a snapshot for it to be complete."""
    if node.read_only:
        return False
    return not node.parents or any(edge.kind is CHILD_ROOT for edge in node.parents)


class SnapshotGroup:
    """The disks of a snapshot.

    :param graph: where they are
    :param devices: the names of their nodes; None: all that have to have it for it to be complete
    """

    def __init__(self, graph: Graph, devices: Sequence[str] | None) -> None:
        self._graph = graph
        self._devices = devices

    def nodes(self) -> Iterator[Node]:
        """The disks, in the order given.

        :raises GenericError: none is named, or one is not there
        """
        if self._devices is None:
            return iter([node for node in top_nodes(self._graph) if takes_part(node)])
        if not self._devices:
            raise GenericError("At least one device is required for snapshot")
        nodes = []
        for name in self._devices:
            node = self._graph.find_node(name)
            if node is None:
                raise GenericError(f"No block device node '{name}'")
            nodes.append(node)
        return iter(nodes)

    def check(self) -> None:
        """Check that snapshots of all disks can be taken.

        :raises GenericError: not of this one
        """
        for node in self.nodes():
            if not can_snapshot(node):
                raise GenericError(
                    f"Device '{node.device_or_node_name}' is writable but does not support"
                    " snapshots"
                )

    def find_vmstate(self, name: str | None) -> Node:
        """The disk that keeps the guest's state.

        :param name: of its node; None for the first that can
        :raises GenericError: it is not one of the disks
        """
        if name is None:
            for node in self.nodes():
                if can_snapshot(node):
                    return node
            raise GenericError("no block device can store vmstate for snapshot")
        for node in self.nodes():
            if node.node_name == name:
                return node
        raise GenericError(f"vmstate block device '{name}' does not exist")

    def has(self, name: str) -> bool:
        """Whether every disk has a snapshot of this name."""
        return all(find_snapshot(node, name) is not None for node in self.nodes())

    async def create(self, name: str, vmstate: Node, state: bytes) -> None:
        """Take a snapshot of every disk, or of none.

        :param vmstate: the node that keeps the state of the guest
        :param state: that state
        :raises GenericError: one failed
        """
        date = self._graph.services.clocks.host()
        clock = self._graph.services.clocks.virtual.now()
        for node in self.nodes():
            holder = snapshot_holder(node)
            assert holder is not None
            try:
                keeps = node is vmstate
                await holder.driver.snapshot_create(
                    name, date, clock, disk_only=not keeps, vm_state=state if keeps else b""
                )
            except BlockIOError:
                with suppress(QmpError):
                    await self.delete(name)
                raise GenericError(
                    f"Could not create snapshot '{name}' on '{node.device_or_node_name}'"
                ) from None

    async def delete(self, name: str) -> None:
        """Delete the snapshot from all disks that have it.

        :raises GenericError: it failed
        """
        for node in self.nodes():
            found, holder = find_snapshot(node, name), snapshot_holder(node)
            if found is None or holder is None:
                continue
            try:
                await holder.driver.snapshot_delete(found["id"], name)
            except QmpError as error:
                raise GenericError(
                    f"Could not delete snapshot '{name}' on"
                    f" '{node.device_or_node_name}': {error.desc}"
                ) from None

    async def go_to(self, name: str) -> None:
        """Bring all disks back to the snapshot; those before one that fails are back already.

        :raises GenericError: one failed
        """
        for node in self.nodes():
            try:
                await _go_to(node, name)
            except QmpError as error:
                raise GenericError(
                    f"Could not load snapshot '{name}' on"
                    f" '{node.device_or_node_name}': {error.desc}"
                ) from None


async def _go_to(node: Node, name: str) -> None:
    if node.bitmaps:
        raise GenericError("Device has active dirty bitmaps")
    if isinstance(node.driver, Snapshots):
        try:
            await node.driver.snapshot_goto(name)
        except BlockIOError as error:
            raise GenericError(f"Failed to load snapshot: {os.strerror(error.errno)}") from None
        return
    primary = node.primary
    if primary is None or snapshot_holder(node) is None:
        raise GenericError("Block driver does not support snapshots")
    await _go_to(primary, name)
    node.refresh_length()

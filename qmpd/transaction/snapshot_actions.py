"""The actions of snapshots: external ones add an overlay, internal ones stay in the image.

Everything that can fail does so in `prepare`: after the overlay has been put on the image,
which stays open, nothing can fail any more.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from qmpd.base.override import override
from qmpd.block.change.activation import inactivate
from qmpd.block.change.closing import release
from qmpd.block.change.create_image import create_image, open_image
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import GraphChange, append
from qmpd.block.io.disk_snapshots import (
    SnapshotHolder,
    can_snapshot,
    check_listed,
    find_snapshot,
    snapshot_holder,
)
from qmpd.block.manners import GraphLock
from qmpd.block.model.blockers import Op
from qmpd.block.model.filename import filename
from qmpd.block.model.graph import lookup_root
from qmpd.block.model.node import Node
from qmpd.block.permission_bits import CONSISTENT_READ
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.transaction.core import Action


class _External(Action):
    """blockdev-snapshot and blockdev-snapshot-sync."""

    _old: Node | None = None
    _new: Node | None = None
    _change: GraphChange | None = None

    def look_up(self) -> Node:
        """Find the node that gets an overlay."""
        raise NotImplementedError

    async def open_overlay(self, old: Node) -> Node:
        """Open the overlay, and hold it."""
        raise NotImplementedError

    @override
    async def prepare(self) -> None:
        old = self.look_up()
        await drained_begin(old)
        self._old = old
        old.hold()
        if not old.is_inserted:
            raise GenericError(f"Device '{old.device_or_node_name}' has no medium")
        old.check_operation(Op.EXTERNAL_SNAPSHOT)
        if not old.read_only:
            try:
                await old.flush()
            except BlockIOError as error:
                name = old.device_or_node_name
                raise error.prefixed(f"Write to node '{name}' failed: ") from None
        new = await self.open_overlay(old)
        self._new = new
        if new.cumulative_permissions()[0] & CONSISTENT_READ:
            raise GenericError("The overlay is already in use")
        if new.driver.shape.is_filter:
            raise GenericError("Filters cannot be used as overlays")
        if new.backing is not None:
            raise GenericError("The overlay already has a backing image")
        if not new.driver.capabilities.backing:
            raise GenericError("The overlay does not support backing images")
        if not old.active and new.active:
            # Images of a guest that has been migrated to a file may still get overlays.
            await inactivate(new)
        async with write_lock(self.graph):
            self._change = append(new, old)

    @override
    async def commit(self) -> None:
        """Make the old image read-only."""
        assert self._change is not None
        assert self._old is not None
        await self._change.commit()
        if not self._old.copy_on_read:
            with suppress(QmpError):
                await set_read_only(self._old, True)

    @override
    async def abort(self) -> None:
        """Remove the overlay from the graph; a file that was created stays."""
        if self._change is not None:
            if self.graph.services.manners.graph_lock is GraphLock.BRIEF:
                # Its backing link goes first, by itself (``bdrv_set_backing_hd``).
                async with write_lock(self.graph):
                    pass
            async with write_lock(self.graph):
                self._change.abort()

    @override
    async def clean(self) -> None:
        if self._old is not None:
            drained_end(self._old)
            await release(self._old)
        if self._new is not None:
            await release(self._new)


class Snapshot(_External):
    """blockdev-snapshot: with an overlay that exists already."""

    @override
    def look_up(self) -> Node:
        return self.graph.lookup(self.data.node)

    @override
    async def open_overlay(self, old: Node) -> Node:
        new = self.graph.lookup(self.data.overlay)
        new.hold()
        return new


class SnapshotSync(_External):
    """blockdev-snapshot-sync: creates or opens the overlay."""

    @override
    def look_up(self) -> Node:
        return self.graph.lookup_device_or_node(self.data.device, self.data.node_name)

    @override
    async def open_overlay(self, old: Node) -> Node:
        data: Any = self.data
        image_format = "qcow2" if data.format is None else data.format
        name = data.snapshot_node_name
        if data.node_name is not None and name is None:
            raise GenericError("New overlay node-name missing")
        if name is not None and (
            self.graph.find_node(name) is not None or name in self.graph.backends
        ):
            raise GenericError("New overlay node-name already in use")
        if data.mode != "existing":
            await create_image(
                self.graph,
                data.snapshot_file,
                image_format,
                old.length,
                backing_file=filename(old),
                backing_format=old.driver.format_name,
            )
        return await open_image(
            self.graph,
            data.snapshot_file,
            image_format,
            node_name=name,
            like=old,
            read_only=old.read_only,
        )


class SnapshotInternalSync(Action):
    """blockdev-snapshot-internal-sync."""

    _node: Node | None = None
    _holder: SnapshotHolder | None = None
    _made: str | None = None

    @override
    async def prepare(self) -> None:
        device, name = self.data.device, self.data.name
        node = lookup_root(self.graph, device)
        await drained_begin(node)
        self._node = node
        node.hold()
        node.check_operation(Op.INTERNAL_SNAPSHOT)
        if node.read_only:
            raise GenericError(f"Device '{device}' is read only")
        holder = snapshot_holder(node)
        if holder is None or not can_snapshot(node):
            raise GenericError(
                f"Block format '{node.driver.format_name}' used by device '{device}' does not"
                " support internal snapshots"
            )
        if not name:
            raise GenericError("Name is empty")
        check_listed(node)
        if find_snapshot(node, name) is not None:
            raise GenericError(f"Snapshot with name '{name}' already exists on device '{device}'")
        clocks = self.graph.services.clocks
        date, guest_time = clocks.host(), clocks.virtual.now()
        try:
            made = await holder.driver.snapshot_create(name, date, guest_time)
        except BlockIOError as error:
            raise error.prefixed(
                f"Failed to create snapshot '{name}' on device '{device}': "
            ) from None
        self._holder, self._made = holder, made

    @override
    async def abort(self) -> None:
        if self._holder is not None and self._made is not None:
            try:
                await self._holder.driver.snapshot_delete(self._made, self.data.name)
            except QmpError as error:
                self.graph.services.say.report(
                    f"Failed to delete snapshot with id '{self._made}' and name"
                    f" '{self.data.name}' on device '{self.data.device}' in abort: {error.desc}"
                )

    @override
    async def clean(self) -> None:
        if self._node is not None:
            drained_end(self._node)
            await release(self._node)

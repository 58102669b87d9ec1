"""A node of the block graph (QEMU's BlockDriverState): the generic part of all I/O.

A request goes through here to the driver and, on its way back, marks the dirty
bitmaps, whether it succeeded or not.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.block.bitmap import DirtyBitmap
    from qmpd.block.driver import BlockDriver, BlockStatus
    from qmpd.block.graph import Graph

SECTOR: Final = 512
MAXIMUM_LENGTH: Final = (2**63 - 1) & ~((1 << 30) - 1)
"""Longest node, bytes (QEMU's BDRV_MAX_LENGTH)."""


@dataclass(slots=True, eq=False)
class Edge:
    """A parent's hold on a node: `name` is the child's name there."""

    name: str
    parent: Node | BlockBackend
    node: Node


@dataclass(slots=True)
class CacheMode:
    """How host caches are used: `direct` bypasses them, `no_flush` ignores flushes."""

    direct: bool = False
    no_flush: bool = False


class Node:
    """One node. Made by `Graph.open`.

    :param options: all its options, as blockdev-add takes them
    """

    request_alignment = 1

    def __init__(self, graph: Graph, node_name: str, options: Mapping[str, Any]) -> None:
        self.graph = graph
        self.node_name = node_name
        self.options = dict(options)
        self.driver: BlockDriver = None  # type: ignore[assignment]  # set while it is opened
        self.children: dict[str, Edge] = {}
        self.parents: list[Edge] = []
        self.bitmaps: list[DirtyBitmap] = []
        self.read_only = False
        self.active = True
        self.detect_zeroes = "off"
        self.unmap = False
        self.force_share = False
        self.cache = CacheMode()
        self.monitor_owned = False
        self.length = 0
        self.write_threshold = 0
        self.wr_highest_offset = 0
        self.quiesce_counter = 0

    def __repr__(self) -> str:
        return f"<Node {self.node_name!r}>"

    # The graph around it

    @property
    def file(self) -> Node | None:
        """The `file` child, where there is one."""
        edge = self.children.get("file")
        return None if edge is None else edge.node

    @property
    def backing(self) -> Node | None:
        """The `backing` child, where there is one."""
        edge = self.children.get("backing")
        return None if edge is None else edge.node

    @property
    def device_name(self) -> str:
        """Name of the backend whose root this is; "" for none."""
        return next((e.parent.name for e in self.parents if not isinstance(e.parent, Node)), "")

    @property
    def device_or_node_name(self) -> str:
        """Name of its backend, else its own: how most messages call it."""
        return self.device_name or self.node_name

    async def open_child(
        self, name: str, reference: str | Mapping[str, Any], *, backing: bool = False
    ) -> Node:
        """Attach a child: an existing node by name, or a new one from its options.

        :param backing: it is a backing child: read-only unless it says otherwise
        """
        child = await self.graph.open_reference(reference, self, backing=backing)
        self.attach(name, child)
        return child

    def attach(self, name: str, child: Node) -> Edge:
        """Make `child` this node's child called `name`."""
        edge = Edge(name, self, child)
        self.children[name] = edge
        child.parents.append(edge)
        return edge

    async def detach(self, name: str) -> None:
        """Let go of child `name`; it is closed if nothing else holds it."""
        edge = self.children.pop(name)
        edge.node.parents.remove(edge)
        await self.graph.unref(edge.node)

    # Reading

    async def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes; what lies behind the end reads as zeroes.

        :raises BlockIOError: the driver fails
        """
        inside = min(length, max(0, self.length - offset))
        if inside == length:
            return await self.driver.pread(offset, length)
        _check_request(offset, length)
        data = await self.driver.pread(offset, inside) if inside else b""
        return data + bytes(length - inside)

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """What the area from `offset` holds; cut at the end of the node, length 0 there."""
        from qmpd.block.driver import BlockStatus

        if offset >= self.length:
            return BlockStatus(0, data=False, zero=True, allocated=False)
        return await self.driver.block_status(offset, min(length, self.length - offset))

    async def is_allocated(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether this node, not its backing, holds the area, and for how many bytes."""
        status = await self.block_status(offset, length)
        return status.allocated, status.length

    # Writing

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write `data`.

        :raises BlockIOError: refused (a bitmap here is readonly) or failed
        """
        self._may_write()
        _check_request(offset, len(data))
        try:
            if self.detect_zeroes != "off" and self.driver.can_write_zeroes and not any(data):
                await self._zeroes(offset, len(data), self.detect_zeroes == "unmap", False)
            else:
                await self.driver.pwrite(offset, data, fua=fua)
        finally:
            self._wrote(offset, len(data))

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data` compressed, where the driver can."""
        if not self.driver.can_write_compressed:
            raise BlockIOError(errno.ENOTSUP)
        self._may_write()
        try:
            await self.driver.pwrite_compressed(offset, data)
        finally:
            self._wrote(offset, len(data))

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        fua: bool = False,
        no_fallback: bool = False,
    ) -> None:
        """Make an area read as zeroes.

        :param may_unmap: its space may be given back
        :param no_fallback: fail with ENOTSUP rather than write zeroes byte by byte
        """
        self._may_write()
        _check_request(offset, length)
        try:
            await self._zeroes(offset, length, may_unmap, no_fallback)
            if fua:
                await self.flush()
        finally:
            self._wrote(offset, length)

    async def _zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        try:
            await self.driver.pwrite_zeroes(offset, length, may_unmap=may_unmap and self.unmap)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP or no_fallback:
                raise
            for start in range(0, length, _BOUNCE):
                piece = min(_BOUNCE, length - start)
                await self.driver.pwrite(offset + start, _ZEROES[:piece])

    async def pdiscard(self, offset: int, length: int) -> None:
        """Say that an area is no longer needed; nothing happens unless discard is unmap."""
        self._may_write()
        if offset + length > self.length:
            raise BlockIOError(errno.EIO)
        if not self.unmap or not self.driver.can_discard or not length:
            return
        try:
            await self.driver.pdiscard(offset, length)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP:
                raise
        finally:
            for bitmap in self.bitmaps:
                bitmap.mark(offset, length)

    async def flush(self) -> None:
        """Make what was written stable, here and below (nothing with no-flush below here)."""
        await self.driver.flush()
        if self.cache.no_flush:
            return
        for edge in self.children.values():
            if edge.name != "backing":
                await edge.node.flush()

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length; bitmaps follow.

        :param exact: it must be exactly `size` bytes, not just long enough
        :raises QmpError: QEMU's texts
        """
        if size < 0:
            raise BlockIOError(errno.EINVAL, "Image size cannot be negative")
        if size > MAXIMUM_LENGTH:
            raise BlockIOError(errno.EIO, f"offset({size}) exceeds maximum({MAXIMUM_LENGTH})")
        if self.read_only:
            raise BlockIOError(errno.EACCES, "Image is read-only")
        await self.driver.truncate(size, exact=exact, prealloc=prealloc)
        self.refresh_length()
        for bitmap in self.bitmaps:
            bitmap.resize(self.length)

    async def set_read_only(self, read_only: bool) -> None:
        """Make the node read-only, or writable."""
        if read_only != self.read_only:
            await self.driver.set_read_only(read_only)
            self.read_only = read_only

    def refresh_length(self) -> None:
        """Ask the driver for the length anew; a node ends at a full sector.

        :raises BlockIOError: it is too long
        """
        length = self.driver.get_length()
        if length > MAXIMUM_LENGTH:
            raise BlockIOError(errno.EFBIG)
        self.length = -(-length // SECTOR) * SECTOR

    def debug_event(self, name: str) -> None:
        """A point of interest in a driver above was reached (blkdebug listens to these)."""

    def _may_write(self) -> None:
        if self.read_only or any(bitmap.readonly for bitmap in self.bitmaps):
            raise BlockIOError(errno.EPERM)

    def _wrote(self, offset: int, length: int) -> None:
        end = offset + length
        if end > self.length:
            self.refresh_length()
            for bitmap in self.bitmaps:
                bitmap.resize(self.length)
        if not length:
            return
        if end > self.wr_highest_offset:
            self.wr_highest_offset = end
        if self.write_threshold and end > self.write_threshold:
            self.graph.emit(
                "BLOCK_WRITE_THRESHOLD",
                {
                    "node-name": self.node_name,
                    "amount-exceeded": end - self.write_threshold,
                    "write-threshold": self.write_threshold,
                },
            )
            self.write_threshold = 0
        for bitmap in self.bitmaps:
            bitmap.mark(offset, length)


def _check_request(offset: int, length: int) -> None:
    """Refuse what no node can hold; tables of damaged images lead there.

    :raises BlockIOError: EIO
    """
    if offset < 0 or offset + length > MAXIMUM_LENGTH:
        raise BlockIOError(errno.EIO)


_BOUNCE: Final = 1 << 20
_ZEROES: Final = memoryview(bytes(_BOUNCE))


def check_detect_zeroes(node: Node) -> None:
    """detect-zeroes=unmap needs discard=unmap.

    :raises GenericError: where it has it not
    """
    if node.detect_zeroes == "unmap" and not node.unmap:
        raise GenericError(
            "setting detect-zeroes to unmap is not allowed without setting discard operation"
            " to unmap"
        )


__all__ = ["SECTOR", "CacheMode", "Edge", "Node", "QmpError", "check_detect_zeroes"]

"""Dirty bitmaps on their way out: which are sent, under which names, and their bits."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.sizes import SECTOR
from qmpd.block.bits.rules import check
from qmpd.block.change.closing import release
from qmpd.block.io.backends import named_backends
from qmpd.errors import GenericError
from qmpd.machine.migration import bitmap_format as form
from qmpd.machine.migration.aliases import BitmapAlias, by_name
from qmpd.machine.migration.stream import counted

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

_LONGEST_NAME: Final = 255


class OutgoingBitmap:
    """One bitmap that is sent; it is busy until `BitmapsOut.release`.

    :param node_alias: the name of its node in the stream
    :param alias: its own
    """

    def __init__(
        self, node: Node, bitmap: DirtyBitmap, node_alias: str, alias: str, persistent: bool
    ) -> None:
        self.node = node
        self.bitmap = bitmap
        self.node_alias = node_alias
        self.alias = alias
        self.flags = form.ENABLED * bitmap.enabled | form.PERSISTENT * persistent
        self.size = -(-node.length // SECTOR) * SECTOR
        self.piece = form.CHUNK * 8 * bitmap.granularity
        self.sent = 0
        node.hold()
        bitmap.busy = True

    @property
    def pending(self) -> int:
        """How much is still to send, in QEMU's count: granules."""
        return -(-(self.size - self.sent) // self.bitmap.granularity)


class BitmapsOut:
    """All bitmaps that one migration sends.

    :param graph: whose bitmaps
    :param mapping: parameter ``block-bitmap-mapping``, None where it is not set
    :raises GenericError: one of them cannot be sent; none is busy then
    """

    def __init__(self, graph: Graph, mapping: Sequence[Mapping[str, Any]] | None) -> None:
        self._bitmaps: list[OutgoingBitmap] = []
        self._told: OutgoingBitmap | None = None
        self._graph = graph
        self._aliases = None if mapping is None else by_name(mapping)
        try:
            self._collect()
        except GenericError:
            for outgoing in self._bitmaps:
                outgoing.bitmap.busy = False
            raise
        for outgoing in self._bitmaps:
            outgoing.bitmap.skip_store = True

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._bitmaps)

    @property
    def pending(self) -> int:
        """How much is still to send, in granules."""
        return sum(outgoing.pending for outgoing in self._bitmaps)

    async def release(self) -> None:
        """Let others use the bitmaps again."""
        bitmaps, self._bitmaps = self._bitmaps, []
        for outgoing in bitmaps:
            outgoing.bitmap.busy = False
            await release(outgoing.node)

    # Which ones (``init_dirty_bitmap_migration``)

    def _collect(self) -> None:
        handled: set[Node] = set()
        if self._aliases is None:
            for backend in named_backends(self._graph):
                node = backend.node
                while node is not None and node.driver.shape.is_filter and not _has_named(node):
                    node = node.filter_or_backing
                if node is not None and not node.driver.shape.is_filter:
                    self._add_node(node, backend.name)
                    handled.add(node)
        for node in self._graph.nodes():
            if node not in handled:
                self._add_node(node, node.node_name)

    def _add_node(self, node: Node, name: str) -> None:
        first = next((bitmap for bitmap in node.bitmaps if bitmap.name is not None), None)
        if first is None:
            return
        alias, bitmaps = name, None
        if self._aliases is not None:
            if name not in self._aliases:
                return
            alias, bitmaps = self._aliases[name].name, self._aliases[name].bitmaps
        if alias.startswith("#"):
            raise GenericError(
                f"Bitmap '{first.name}' in a node with auto-generated name '{alias}' can't be"
                " migrated"
            )
        for bitmap in node.bitmaps:
            if bitmap.name is not None:
                self._add_bitmap(node, name, alias, bitmap, bitmaps)

    def _add_bitmap(
        self,
        node: Node,
        node_name: str,
        node_alias: str,
        bitmap: DirtyBitmap,
        aliases: Mapping[str, BitmapAlias] | None,
    ) -> None:
        name = bitmap.name
        assert name is not None
        check(bitmap, "migrate")
        persistent = bitmap.persistent
        if aliases is not None:
            if name not in aliases:
                return
            given = aliases[name]
            name = given.name
            persistent = persistent if given.persistent is None else given.persistent
        elif len(name.encode()) > _LONGEST_NAME:
            raise GenericError(
                f"Cannot migrate bitmap '{name}' on node '{node_name}': Name is longer than"
                f" {_LONGEST_NAME} bytes"
            )
        self._bitmaps.append(OutgoingBitmap(node, bitmap, node_alias, name, persistent))

    # What is sent

    def start(self) -> bytes:
        """That they are there, and how they are."""
        parts = []
        for outgoing in self._bitmaps:
            parts.append(self._header(outgoing, form.START))
            parts.append(struct.pack(">IB", outgoing.bitmap.granularity, outgoing.flags))
        return b"".join(parts)

    def pieces(self) -> Iterator[bytes]:
        """Their bits, piece by piece, from where it has been left off."""
        for outgoing in self._bitmaps:
            while outgoing.sent < outgoing.size:
                length = min(outgoing.piece, outgoing.size - outgoing.sent)
                yield self._piece(outgoing, outgoing.sent, length)
                outgoing.sent += length

    def _piece(self, outgoing: OutgoingBitmap, offset: int, length: int) -> bytes:
        bitmap = outgoing.bitmap
        dirty = bitmap.next_dirty(offset)
        area = struct.pack(">QI", offset // SECTOR, length // SECTOR)
        if dirty is None or dirty >= offset + length:
            return self._header(outgoing, form.BITS | form.ZEROES) + area
        bits = bitmap.chunk(offset, length)
        bits = bits.ljust(form.padded(form.padded(len(bits), form.WORD), form.ALIGN), b"\0")
        return self._header(outgoing, form.BITS) + area + struct.pack(">Q", len(bits)) + bits

    def complete(self) -> bytes:
        """That all bits have been sent."""
        return b"".join(self._header(outgoing, form.COMPLETE) for outgoing in self._bitmaps)

    def _header(self, outgoing: OutgoingBitmap, flags: int) -> bytes:
        told, self._told = self._told, outgoing
        if told is outgoing:
            return bytes([flags])
        names = counted(outgoing.alias)
        flags |= form.BITMAP_NAME
        if told is None or told.node is not outgoing.node:
            flags |= form.DEVICE_NAME
            names = counted(outgoing.node_alias) + names
        return bytes([flags]) + names


def _has_named(node: Node) -> bool:
    return any(bitmap.name is not None for bitmap in node.bitmaps)

"""Copies of the metadata that changes, beside the image (`at_once`)."""

from __future__ import annotations

import errno
import struct
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.clusters.used import Used
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_REFTABLE_SIZE,
    OFFSET_MASK,
    OFLAG_COPIED,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.refcounts.codec import empty_refcounts, encode_refcounts
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.block.drivers.formats.qcow2.tables.held import HeldFile
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.model.node import Node

_POINTERS: Final = struct.Struct(">QQI")
_POINTERS_AT: Final = 40
"""In the header: where the L1 table and the refcount table are, and the latter's clusters."""

_TRIES: Final = 100
"""Places that are looked at for the copies; behind the file's end the first one is free."""

CHUNK: Final = 2 << 20
"""Bytes that are written at once."""


def _and_below(file: Node) -> Iterator[Node]:
    """A node, and those that its requests go on to."""
    node: Node | None = file
    while node is not None:
        yield node
        node = node.primary


class Copies:
    """Copies of all that changes, with refcounts of their own: an image beside the image.

    `header`: the first cluster of the file, which refers to them.
    """

    def __init__(self, s: Qcow2State, held: HeldFile, header: bytearray) -> None:
        self._s = s
        self._held = held
        self._new = Used(s, held, s.refcount_table)
        self.header = bytearray(header)
        self._start = self._count = self._table_clusters = 0
        self._blocks: set[int] = set()
        self._data = bytearray()
        self._l1 = s.l1
        self._table = s.refcount_table
        self._l1_offset = s.header.l1_table_offset
        self._table_offset = 0

    async def make(self, changed: set[int], used: Used) -> None:
        """Make them.

        :param used: what is in use in the file as it is
        :raises BlockIOError: a table cannot be read, or there is no place for them
        """
        s, geometry = self._s, self._s.geometry
        bits = geometry.cluster_bits
        tables = [
            index
            for index, entry in enumerate(s.l1)
            if entry & OFFSET_MASK and (entry & OFFSET_MASK) >> bits in changed
        ]
        l1_first = s.header.l1_table_offset >> bits
        l1_clusters = geometry.clusters(len(s.l1) * ENTRY_SIZE)
        if not tables and changed.isdisjoint(range(l1_first, l1_first + l1_clusters)):
            l1_clusters = 0
        await self._place(changed, len(tables) + l1_clusters, used)
        self._l1 = array("Q", s.l1)
        for index in tables:
            copied = self._held.clusters[(s.l1[index] & OFFSET_MASK) >> bits]
            self._l1[index] = self._add(copied) | OFLAG_COPIED
        if l1_clusters:
            self._l1_offset = self._add(encode_entries(self._l1))
        await self._add_refcounts()
        _POINTERS.pack_into(
            self.header, _POINTERS_AT, self._l1_offset, self._table_offset, self._table_clusters
        )

    async def write(self, file: Node) -> None:
        """Write them, and flush; statistics do not show that the file was longer for a moment."""
        where = self._start << self._s.geometry.cluster_bits
        highest = [(node, node.wr_highest_offset) for node in _and_below(file)]
        try:
            for at in range(0, len(self._data), CHUNK):
                await file.pwrite(where + at, bytes(self._data[at : at + CHUNK]))
        finally:
            for node, offset in highest:
                node.wr_highest_offset = offset
        await file.flush()

    def keep(self) -> None:
        """Let the image in memory be the one beside the image."""
        s = self._s
        s.l2_cache.forget()
        s.refcount_cache.forget()
        s.header.l1_table_offset, s.header.refcount_table_offset = (
            self._l1_offset,
            self._table_offset,
        )
        s.set_l1(array("Q", self._l1))
        s.set_refcount_table(self._table)

    def _add(self, raw: bytes | bytearray) -> int:
        """Append whole clusters; returns their file offset."""
        geometry = self._s.geometry
        offset = (self._start << geometry.cluster_bits) + len(self._data)
        self._data += raw
        self._data += bytes(-len(raw) % geometry.cluster_size)
        return offset

    async def _place(self, changed: set[int], others: int, used: Used) -> None:
        """Choose the first cluster, and the blocks that are copied.

        :param others: clusters that are neither refcount blocks nor their table
        """
        geometry, old = self._s.geometry, self._s.refcount_table
        per_block = geometry.refcount_block_size
        start = max(geometry.clusters(max(self._s.file_node.length, self._held.length)), 1)
        changing = {
            index
            for index, entry in enumerate(old[: self._s.max_refcount_table_index + 1])
            if entry and (entry & REFT_OFFSET_MASK) >> geometry.cluster_bits in changed
        }
        for _ in range(_TRIES):
            self._blocks, table = set(changing), 0
            while True:
                count = others + len(self._blocks) + table
                counted = range(start // per_block, (start + count) // per_block + 1)
                needed = geometry.clusters(max(len(old), counted[-1] + 1) * ENTRY_SIZE)
                if needed == table and self._blocks.issuperset(counted):
                    break
                self._blocks.update(counted)
                table = needed
            if table << geometry.cluster_bits > MAX_REFTABLE_SIZE:
                break
            free = max(await used.free_from(start, count), await self._new.free_from(start, count))
            if free == start:
                self._start, self._count, self._table_clusters = start, count, table
                return
            start = free
        raise BlockIOError(errno.EFBIG)

    async def _add_refcounts(self) -> None:
        """Copy the refcount table, the blocks that change, and those that count the copies."""
        geometry, old = self._s.geometry, self._s.refcount_table
        per_block = geometry.refcount_block_size
        table = array("Q", old)
        missing = (self._table_clusters << geometry.cluster_bits) - len(old) * ENTRY_SIZE
        table.frombytes(bytes(missing))
        for index in sorted(self._blocks):
            counts = await self._new.block(index)
            if not counts:
                counts = empty_refcounts(per_block, geometry.refcount_order)
            first = index * per_block
            last = min(self._start + self._count, first + per_block)
            for cluster in range(max(self._start, first), last):
                counts[cluster - first] = 1
            table[index] = self._add(encode_refcounts(counts, geometry.refcount_order))
        self._table = table
        self._table_offset = self._add(encode_entries(table))

"""Rebuilding refcounts that do not count themselves (rebuild_refcount_structure)."""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_REFCOUNT_TABLE
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_REFTABLE_SIZE,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.refcounts.codec import empty_refcounts, encode_refcounts
from qmpd.block.drivers.formats.qcow2.refcounts.counts import get_refcount
from qmpd.block.drivers.formats.qcow2.refcounts.grow import TABLE_POINTER
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def must_rebuild(s: Qcow2State) -> bool:
    """Whether the header or a refcount structure lies in clusters with a refcount of zero.

    New clusters would then be allocated on top of them.
    """
    bits = s.geometry.cluster_bits
    table, size = s.header.refcount_table_offset >> bits, len(s.refcount_table) * ENTRY_SIZE
    clusters = [0, *range(table, table + s.geometry.clusters(size))]
    clusters += [e >> bits for e in s.refcount_table if e & REFT_OFFSET_MASK]
    for cluster in clusters:
        if not await get_refcount(s, cluster):
            return True
    return False


async def rebuild(s: Qcow2State, references: array[int]) -> None:
    """Write new refcount blocks and a new table to free clusters and switch to them.

    :param references: number of references to each cluster of the file, including those to the
        old table and blocks, which are not freed here
    :raises BlockIOError: EFBIG where a count or the table is too large, or writing failed
    """
    layout = _Layout(s, references)
    layout.place()
    geometry = s.geometry
    table = array("Q", bytes(layout.table_clusters << geometry.cluster_bits))
    size, order = geometry.refcount_block_size, geometry.refcount_order
    for index, cluster in layout.blocks.items():
        counts = empty_refcounts(size, order)
        for number, count in enumerate(layout.counts[index * size : (index + 1) * size]):
            counts[number] = count
        table[index] = cluster << geometry.cluster_bits
        await s.file.pwrite(table[index], encode_refcounts(counts, order))
    offset = layout.table << geometry.cluster_bits
    await s.pwrite_sync(offset, encode_entries(table))
    pointer = TABLE_POINTER.pack(offset, layout.table_clusters)
    await s.pwrite_sync(OFFSET_REFCOUNT_TABLE, pointer)
    s.refcount_cache.forget()
    s.header.refcount_table_offset = offset
    s.header.refcount_table_clusters = layout.table_clusters
    s.set_refcount_table(table)
    s.free_cluster_index = 0


class _Layout:
    """The place of the new structures, which count themselves, too."""

    def __init__(self, s: Qcow2State, references: array[int]) -> None:
        self._geometry = s.geometry
        self.counts = array("Q", references)
        self.blocks: dict[int, int] = {}
        """Cluster of each block, by its index in the table."""
        self.table = 0
        self.table_clusters = 0
        if max(self.counts, default=0) > s.geometry.refcount_max:
            raise BlockIOError(errno.EFBIG)

    def place(self) -> None:
        """Choose clusters until every cluster in use is counted."""
        geometry = self._geometry
        while True:
            size = geometry.refcount_block_size
            used = {
                index
                for index in range(-(-len(self.counts) // size))
                if any(self.counts[index * size : (index + 1) * size])
            }
            missing = sorted(used - self.blocks.keys())
            for index in missing:
                self.blocks[index] = self._take(1)
            needed = geometry.clusters((max(self.blocks) + 1) * ENTRY_SIZE)
            if needed << geometry.cluster_bits > MAX_REFTABLE_SIZE:
                raise BlockIOError(errno.EFBIG)
            if needed > self.table_clusters:
                for cluster in range(self.table, self.table + self.table_clusters):
                    self.counts[cluster] = 0
                self.table, self.table_clusters = self._take(needed), needed
            elif not missing:
                return

    def _take(self, count: int) -> int:
        """Reserve the first `count` adjacent free clusters; returns the index of the first."""
        free = bytes(count * self.counts.itemsize)
        first = 0
        while True:
            try:
                first = self.counts.index(0, first)
            except ValueError:
                first = len(self.counts)
            if len(self.counts) < first + count:
                self.counts.extend([0] * (first + count - len(self.counts)))
            if self.counts[first : first + count].tobytes() == free:
                break
            first += 1
        self.counts[first : first + count] = array("Q", [1] * count)
        return first

"""Making new refcount structures of counted references (rebuild_refcount_structure)."""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_REFCOUNT_TABLE
from qmpd.block.drivers.formats.qcow2.header.layout import ENTRY_SIZE, MAX_REFTABLE_SIZE
from qmpd.block.drivers.formats.qcow2.refcounts.codec import empty_refcounts, encode_refcounts
from qmpd.block.drivers.formats.qcow2.refcounts.grow import TABLE_POINTER
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.repair.references import ReferenceCounter
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

AT_A_TIME: Final = 1 << 12
"""Clusters that are passed over before others may have their turn."""


async def rebuild(s: Qcow2State, counter: ReferenceCounter) -> None:
    """Write new refcount blocks and a new table to free clusters and switch to them.

    The old ones are leaked: they are counted, and nothing refers to them any more.

    :param counter: what is referred to, which includes the old structures; the new ones are added
    :raises BlockIOError: writing failed; with QEMU's text
    """
    await s.refcount_cache.empty()
    made = _Rebuild(s, counter)
    await made.write_blocks(0, len(counter.counts))
    while True:
        start, clusters = await made.place_table()
        if not await made.write_blocks(start, start + clusters):
            break
    offset = start << s.geometry.cluster_bits
    await made.write(offset, encode_entries(made.table), "reftable")
    try:
        await s.pwrite_sync(OFFSET_REFCOUNT_TABLE, TABLE_POINTER.pack(offset, clusters))
    except BlockIOError as error:
        raise error.prefixed("ERROR setting reftable: ") from error
    s.refcount_cache.forget()
    s.header.refcount_table_offset = offset
    s.header.refcount_table_clusters = clusters
    s.set_refcount_table(made.table)


class _Rebuild:
    """The new table while it is made.

    `table`: its entries, whole clusters of them.
    """

    def __init__(self, s: Qcow2State, counter: ReferenceCounter) -> None:
        self._s = s
        self._counter = counter
        self.table = array("Q")

    async def write(self, offset: int, data: bytes, what: str) -> None:
        """Write one of the new structures."""
        try:
            await pre_write_overlap_check(self._s, 0, offset, len(data))
            await self._s.file.pwrite(offset, data)
        except BlockIOError as error:
            raise error.prefixed(f"ERROR writing {what}: ") from error

    async def place_table(self) -> tuple[int, int]:
        """Take clusters for the table; returns the first one, and how many."""
        clusters = self._s.geometry.clusters(len(self.table) * ENTRY_SIZE)
        return (await self._take(clusters, 0))[0], clusters

    async def write_blocks(self, first: int, end: int) -> bool:
        """Write the blocks of those of clusters `first` to `end` - 1 that are used.

        :returns: whether the table has become larger
        """
        geometry, counts = self._s.geometry, self._counter.counts
        size = geometry.refcount_block_size
        grown = False
        cluster, free = first, 0
        while (cluster := counts.used(cluster, end)) < end:
            await self._s.rest()
            index = cluster // size
            offset = self.table[index] if index < len(self.table) else 0
            if not offset:
                # A block that was written already does not change any more.
                place, free = await self._take(1, max(free, index * size))
                offset = place << geometry.cluster_bits
                end = max(end, place + 1)
                if index >= len(self.table):
                    whole = geometry.round_up((index + 1) * ENTRY_SIZE)
                    if whole > MAX_REFTABLE_SIZE:
                        # nobody would open an image with such a table
                        raise BlockIOError(errno.ENOMEM, "ERROR allocating reftable memory")
                    self.table.frombytes(bytes(whole - len(self.table) * ENTRY_SIZE))
                    grown = True
                self.table[index] = offset
            block = empty_refcounts(size, geometry.refcount_order)
            for each, count in counts.all_used(index * size, (index + 1) * size):
                block[each - index * size] = count
            raw = encode_refcounts(block, geometry.refcount_order)
            await self.write(offset, raw, "refblock")
            cluster = (index + 1) * size
        return grown

    async def _take(self, count: int, start: int) -> tuple[int, int]:
        """Take the first `count` adjacent free clusters from `start` on (alloc_clusters_imrt).

        :returns: the first of them, and the first free cluster from `start` on
        """
        counts = self._counter.counts
        first_gap: int | None = None
        found, cluster = 0, start
        while cluster < len(counts) and found < count:
            if not cluster % AT_A_TIME:
                await self._s.rest()
            if counts[cluster]:
                found = 0
            else:
                found += 1
                first_gap = cluster if first_gap is None else first_gap
            cluster += 1
        place = cluster - found
        self._counter.reach(place + count)
        for index in range(place, place + count):
            counts[index] = 1
        return place, start if first_gap is None else first_gap

"""Reference counts of clusters: reading and changing them, and finding free clusters.

The refcount of a new cluster is raised before anything refers to it; whether it
also reaches the disk before that is up to the dependencies of the caches.

To count a cluster a refcount block may be missing.  Nothing here makes one: `NeedBlock`
says which is needed, and `qmpd.block.drivers.formats.qcow2.refcounts.allocation` has it made.
"""

from __future__ import annotations

import errno
import logging
from array import array
from enum import IntEnum
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.layout import ENTRY_SIZE, REFT_OFFSET_MASK
from qmpd.block.drivers.formats.qcow2.refcounts.codec import first_free, last_used
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import c_hex, corruption
from qmpd.block.drivers.formats.qcow2.refcounts.reuse import before_reuse
from qmpd.block.drivers.formats.qcow2.tables.long import decode_long
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.cache import Table

log = logging.getLogger("qmpd.block.qcow2")


class Discard(IntEnum):
    """Why clusters become free; the options say which of these reach the file as discards."""

    NEVER = 0
    ALWAYS = 1
    REQUEST = 2
    SNAPSHOT = 3
    OTHER = 4


class NeedBlock(BlockIOError):
    """A refcount cannot be changed because no block holds it.

    :param cluster_index: the cluster whose refcount it is
    """

    def __init__(self, cluster_index: int) -> None:
        super().__init__(errno.EAGAIN)
        self.cluster_index = cluster_index


async def refcount_init(s: Qcow2State) -> None:
    """Read the refcount table."""
    entries = s.header.refcount_table_clusters << (s.geometry.cluster_bits - 3)
    s.event("reftable_load")
    raw = await s.file.pread(s.header.refcount_table_offset, entries * ENTRY_SIZE)
    s.set_refcount_table(await decode_long(s, raw))


async def block_offset(s: Qcow2State, table_index: int) -> int:
    """File offset of refcount block `table_index`; 0 when there is none.

    :raises BlockIOError: EIO, the entry is not aligned to a cluster
    """
    if table_index >= len(s.refcount_table):
        return 0
    offset = s.refcount_table[table_index] & REFT_OFFSET_MASK
    if s.geometry.offset_into_cluster(offset):
        raise await corruption(
            s, f"Refblock offset {c_hex(offset)} unaligned (reftable index: {c_hex(table_index)})"
        )
    return offset


async def get_refcount(s: Qcow2State, cluster_index: int) -> int:
    """The refcount of the cluster with that index."""
    offset = await block_offset(s, cluster_index >> s.geometry.refcount_block_bits)
    if not offset:
        return 0
    table = await s.refcount_cache.get(offset)
    count: int = table.data[cluster_index & (s.geometry.refcount_block_size - 1)]
    s.refcount_cache.put(table)
    return count


def table_index(s: Qcow2State, cluster_index: int) -> int:
    """Which block holds the refcount of a cluster; QEMU counts them in 32 bits where it changes it.

    In a damaged image a cluster may be anywhere.
    """
    return cluster_index >> s.geometry.refcount_block_bits & (1 << 32) - 1


async def _load_block(s: Qcow2State, cluster_index: int) -> Table:
    """The block with the refcount of a cluster, to be put back.

    :raises NeedBlock: there is none
    """
    s.event("refblock_alloc")
    offset = await block_offset(s, table_index(s, cluster_index))
    if not offset:
        raise NeedBlock(cluster_index)
    s.event("refblock_load")
    return await s.refcount_cache.get(offset)


async def change_refcounts(
    s: Qcow2State, first: int, last: int, addend: int, kind: Discard = Discard.NEVER
) -> tuple[int, BlockIOError | None]:
    """Add `addend` to the refcounts of clusters `first` to `last`, as far as that goes.

    Follow it with `finish_change`.

    :returns: the index of the first cluster that was not changed, and what prevented it:
        `NeedBlock`, EINVAL for a refcount that would leave its range, or an I/O error
    """
    if addend < 0:
        await s.refcount_cache.set_dependency(s.l2_cache)
    bits = s.geometry.refcount_block_bits
    index = first
    try:
        while index <= last:
            stop = min(last + 1, ((index >> bits) + 1) << bits)
            table = await _load_block(s, index)
            try:
                index += _change_block(s, table, first, index, stop, addend, kind)
            finally:
                s.refcount_cache.put(table)
            if table not in s.refcount_cache:
                # It was at the first of these clusters, which only happens in a damaged image. What
                # has changed in it is lost; the others are looked for in what the file has.
                continue
            if index < stop:
                return index, BlockIOError(errno.EINVAL)
    except BlockIOError as error:
        return index, error
    return index, None


async def finish_change(
    s: Qcow2State, first: int, stop: int, addend: int, failure: BlockIOError | None
) -> None:
    """Pass on the discards of a change of the refcounts of clusters `first` to `stop` - 1.

    A change that failed is undone, which may fail as well, and `failure` raised.
    """
    if not s.cache_discards:
        await process_discards(s, failure is None)
    if failure is None:
        return
    if stop > first:
        try:
            reached, again = await change_refcounts(s, first, stop - 1, -addend)
            await finish_change(s, first, reached, -addend, again)
        except BlockIOError:
            log.warning("qcow2: refcounts could not be restored, clusters are leaked")
    raise failure


def _change_block(
    s: Qcow2State, table: Table, first: int, start: int, stop: int, addend: int, kind: Discard
) -> int:
    """Change the refcounts of clusters `start`..`stop`, all in `table`; returns how many.

    :param first: of all that are changed; a refcount block at another one stays in the cache, as in
        QEMU
    """
    counts = table.data
    base = start & ~(s.geometry.refcount_block_size - 1)
    maximum = s.geometry.refcount_max
    table.dirty = True
    low, high = start - base, stop - base
    if addend == 1 and high - low > 8 and not any(counts[low:high]):
        counts[low:high] = (
            type(counts)(b"\1" * (high - low))
            if isinstance(counts, bytearray)
            else array(counts.typecode, [1]) * (high - low)
        )
        return stop - start
    for position in range(low, high):
        count = counts[position] + addend
        if not 0 <= count <= maximum:
            return position - low
        counts[position] = count
        if count == 0:
            _cluster_freed(s, base + position, kind)
            if base + position == first:
                s.refcount_cache.discard(first << s.geometry.cluster_bits)
                if table not in s.refcount_cache:
                    return position + 1 - low
    return stop - start


def _cluster_freed(s: Qcow2State, cluster_index: int, kind: Discard) -> None:
    s.free_cluster_index = min(s.free_cluster_index, cluster_index)
    s.note_freed(cluster_index)
    if s.free_byte_offset >> s.geometry.cluster_bits == cluster_index:
        # QEMU 10.0 goes on filling it, and destroys what is put there meanwhile.
        s.free_byte_offset = 0
    offset = cluster_index << s.geometry.cluster_bits
    for slice_offset in range(
        offset, offset + s.geometry.cluster_size, s.l2_slice_size * s.geometry.l2_entry_size
    ):
        s.l2_cache.discard(slice_offset)
    if s.options.discard_passthrough[kind]:
        queue_discard(s, offset, s.geometry.cluster_size)


def queue_discard(s: Qcow2State, offset: int, length: int) -> None:
    """Queue a freed range for `process_discards`, merging it with adjacent ones."""
    start, end = offset, offset + length
    rest = []
    for region in s.discards:
        if region[0] <= end and start <= region[1]:
            start, end = min(start, region[0]), max(end, region[1])
        else:
            rest.append(region)
    rest.append([start, end])
    s.discards = rest


async def process_discards(s: Qcow2State, succeeded: bool) -> None:
    """Discard the queued ranges in the file, or drop the queue after a failure."""
    regions, s.discards = s.discards, []
    if not succeeded:
        return
    for start, end in regions:
        try:
            await s.file.pdiscard(start, end - start)
        except BlockIOError as error:
            log.debug("qcow2: discard of a freed cluster failed: %s", error.desc)


async def find_free_clusters(s: Qcow2State, count: int, maximum: int) -> int:
    """Find the first `count` adjacent free clusters; returns their file offset.

    :param maximum: highest file offset that may be used
    :raises BlockIOError: EFBIG beyond `maximum`
    """
    if s.cache_discards:
        await process_discards(s, True)
    geometry = s.geometry
    size = geometry.refcount_block_size
    index = s.free_cluster_index
    start = index
    try:
        while index - start < count:
            offset = await block_offset(s, index >> geometry.refcount_block_bits)
            base = index & ~(size - 1)
            if not offset:
                index = min(start + count, base + size)
                continue
            table = await s.refcount_cache.get(offset)
            if index == start:
                index = start = base + first_free(table.data, index - base)
            stop = min(start + count, base + size)
            used = last_used(table.data, index - base, stop - base) if index < stop else -1
            s.refcount_cache.put(table)
            index = stop if used < 0 else base + used + 1
            if used >= 0:
                start = index
    except BlockIOError:
        # The next search goes on behind what cannot be read.
        s.free_cluster_index = index + 1
        raise
    s.free_cluster_index = index
    if index > 0 and index - 1 > maximum >> geometry.cluster_bits:
        raise BlockIOError(errno.EFBIG)
    await before_reuse(s, start, count)
    return start << geometry.cluster_bits

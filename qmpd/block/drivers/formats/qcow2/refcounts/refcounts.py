"""Counting references to clusters: reading, changing, and finding free clusters.

The refcount of a new cluster is raised before anything refers to it; whether it
also reaches the disk before is the business of the caches' dependencies.
"""

from __future__ import annotations

import errno
from array import array
from enum import IntEnum
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_CLUSTER_OFFSET,
    OFFSET_MASK,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.refcounts import grow as refcount_grow
from qmpd.block.drivers.formats.qcow2.refcounts.codec import first_free, last_used
from qmpd.block.drivers.formats.qcow2.state import log
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster
from qmpd.block.drivers.formats.qcow2.tables.overlap import c_hex, corruption, signal_corruption
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.cache import Table


class Discard(IntEnum):
    """Why clusters become free; the options say which of these reach the file as discards."""

    NEVER = 0
    ALWAYS = 1
    REQUEST = 2
    SNAPSHOT = 3
    OTHER = 4


class TryAgain(BlockIOError):
    """Refcount structures were allocated; the search for free clusters must start anew."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN)


async def refcount_init(s: Qcow2State) -> None:
    """Read the refcount table."""
    entries = s.header.refcount_table_clusters << (s.geometry.cluster_bits - 3)
    s.event("reftable_load")
    raw = await s.file.pread(s.header.refcount_table_offset, entries * ENTRY_SIZE)
    table = array("Q", raw)
    if refcount_grow.SWAP:
        table.byteswap()
    s.set_refcount_table(table)


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


async def update_refcount(
    s: Qcow2State, offset: int, length: int, addend: int, kind: Discard = Discard.NEVER
) -> None:
    """Add `addend` (negative: subtract) to the refcount of each cluster of a range.

    All or nothing, except that undoing may fail as well.

    :param offset: file offset in bytes, as `length`; both need not be aligned
    :raises TryAgain: a refcount block had to be allocated, nothing is changed
    :raises BlockIOError: EINVAL for a refcount that would leave its range
    """
    if length <= 0:
        return
    if addend < 0:
        await s.refcount_cache.set_dependency(s.l2_cache)
    geometry = s.geometry
    first = offset >> geometry.cluster_bits
    last = (offset + length - 1) >> geometry.cluster_bits
    index = first
    failed: BaseException | None = None
    try:
        while index <= last:
            stop = min(
                last + 1,
                ((index >> geometry.refcount_block_bits) + 1) << geometry.refcount_block_bits,
            )
            table = await refcount_grow.alloc_refcount_block(s, index)
            try:
                done = _change_block(s, table, index, stop, addend, kind)
            finally:
                s.refcount_cache.put(table)
            index += done
            if index < stop:
                raise BlockIOError(errno.EINVAL)
    except TryAgain as error:
        s.free_cluster_index = min(s.free_cluster_index, first)
        failed = error
    except BlockIOError as error:
        failed = error
    if not s.cache_discards:
        await process_discards(s, failed is None)
    if failed is not None:
        if index > first:
            undo = (index - first) << geometry.cluster_bits
            await _undo(s, first << geometry.cluster_bits, undo, -addend)
        raise failed


async def _undo(s: Qcow2State, offset: int, length: int, addend: int) -> None:
    try:
        await update_refcount(s, offset, length, addend)
    except BlockIOError:
        log.warning("qcow2: refcounts could not be restored, clusters are leaked")


def _change_block(
    s: Qcow2State, table: Table, start: int, stop: int, addend: int, kind: Discard
) -> int:
    """Change the refcounts of clusters `start`..`stop`, all in `table`; returns how many."""
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
    return stop - start


def _cluster_freed(s: Qcow2State, cluster_index: int, kind: Discard) -> None:
    s.free_cluster_index = min(s.free_cluster_index, cluster_index)
    s.note_freed(cluster_index)
    if s.free_byte_offset >> s.geometry.cluster_bits == cluster_index:
        # QEMU 10.0 goes on filling it, and destroys what is put there meanwhile.
        s.free_byte_offset = 0
    offset = cluster_index << s.geometry.cluster_bits
    s.refcount_cache.discard(offset)
    for slice_offset in range(
        offset, offset + s.geometry.cluster_size, s.l2_slice_size * s.geometry.l2_entry_size
    ):
        s.l2_cache.discard(slice_offset)
    if s.options.discard_passthrough[kind]:
        queue_discard(s, offset, s.geometry.cluster_size)


def queue_discard(s: Qcow2State, offset: int, length: int) -> None:
    """Remember a freed range for `process_discards`, joined with its neighbours."""
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
    """Discard the remembered ranges in the file, or forget them after a failure."""
    regions, s.discards = s.discards, []
    if not succeeded:
        return
    for start, end in regions:
        try:
            await s.file.pdiscard(start, end - start)
        except BlockIOError as error:
            log.debug("qcow2: discard of a freed cluster failed: %s", error.desc)


async def find_free_clusters(s: Qcow2State, count: int, maximum: int) -> int:
    """File offset of the first `count` adjacent free clusters, which stay free.

    :param maximum: highest file offset that may be used
    :raises BlockIOError: EFBIG beyond `maximum`
    """
    if s.cache_discards:
        await process_discards(s, True)
    geometry = s.geometry
    size = geometry.refcount_block_size
    index = s.free_cluster_index
    start = index
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
    s.free_cluster_index = index
    if index > 0 and index - 1 > maximum >> geometry.cluster_bits:
        raise BlockIOError(errno.EFBIG)
    await s.before_reuse(start, count)
    return start << geometry.cluster_bits


async def alloc_clusters(s: Qcow2State, size: int) -> int:
    """Allocate adjacent clusters for `size` bytes; returns their file offset."""
    s.event("cluster_alloc")
    count = s.geometry.clusters(size)
    while True:
        offset = await find_free_clusters(s, count, MAX_CLUSTER_OFFSET)
        try:
            await update_refcount(s, offset, size, 1)
        except TryAgain:
            continue
        return offset


async def alloc_clusters_at(s: Qcow2State, offset: int, count: int) -> int:
    """Allocate up to `count` clusters from file offset `offset` on, as far as they are free.

    :returns: how many were allocated
    """
    if count <= 0:
        return 0
    first = offset >> s.geometry.cluster_bits
    while True:
        found = await _count_free(s, first, count)
        await s.before_reuse(first, found)
        try:
            await update_refcount(s, offset, found << s.geometry.cluster_bits, 1)
        except TryAgain:
            continue
        return found


async def _count_free(s: Qcow2State, first: int, count: int) -> int:
    size = s.geometry.refcount_block_size
    index = first
    while index < first + count:
        base = index & ~(size - 1)
        stop = min(first + count, base + size)
        offset = await block_offset(s, index >> s.geometry.refcount_block_bits)
        if offset:
            table = await s.refcount_cache.get(offset)
            counts = table.data
            s.refcount_cache.put(table)
            used = next((i for i in range(index - base, stop - base) if counts[i]), None)
            if used is not None:
                return base + used - first
        index = stop
    return count


async def alloc_bytes(s: Qcow2State, size: int) -> int:
    """Allocate `size` bytes for a compressed cluster, next to the last one if they fit there."""
    geometry = s.geometry
    s.event("cluster_alloc_bytes")
    offset = s.free_byte_offset
    if offset and await get_refcount(s, offset >> geometry.cluster_bits) == geometry.refcount_max:
        offset = 0
    free_in_cluster = geometry.cluster_size - geometry.offset_into_cluster(offset)
    while True:
        if not offset or free_in_cluster < size:
            limit = min(geometry.cluster_offset_mask, MAX_CLUSTER_OFFSET)
            new = await find_free_clusters(s, 1, limit)
            if new == 0:
                raise await corruption(
                    s, "Preventing invalid allocation of compressed cluster at offset 0"
                )
            if not offset or geometry.round_up(offset) != new:
                offset = new
                free_in_cluster = geometry.cluster_size
            else:
                free_in_cluster += geometry.cluster_size
        try:
            await update_refcount(s, offset, size, 1)
        except TryAgain:
            offset = 0
            continue
        break
    await s.l2_cache.set_dependency(s.refcount_cache)
    end = offset + size
    s.free_byte_offset = end if geometry.offset_into_cluster(end) else 0
    return offset


async def free_clusters(s: Qcow2State, offset: int, size: int, kind: Discard) -> None:
    """Drop one reference to each cluster of a range; a failure leaks them and is only logged."""
    s.event("cluster_free")
    try:
        await update_refcount(s, offset, size, -1, kind)
    except BlockIOError as error:
        log.warning("qcow2_free_clusters failed: %s", error)


async def free_any_cluster(s: Qcow2State, entry: int, kind: Discard) -> None:
    """Drop the reference that an L2 entry holds, whatever its type."""
    cluster = s.rules.cluster_type(entry)
    offset = entry & OFFSET_MASK
    stored = cluster in (Cluster.NORMAL, Cluster.ZERO_ALLOC)
    if s.has_data_file:
        if stored and s.options.discard_passthrough[kind]:
            await pass_discard(s, offset)
        return
    if cluster is Cluster.COMPRESSED:
        await free_clusters(s, *s.geometry.compressed_extent(entry), kind)
    elif stored:
        if s.geometry.offset_into_cluster(offset):
            await signal_corruption(
                s, f"Cannot free unaligned cluster {c_hex(offset)}", fatal=False
            )
        else:
            await free_clusters(s, offset, s.geometry.cluster_size, kind)


async def pass_discard(s: Qcow2State, offset: int) -> None:
    """Discard a cluster in the data file whose reference stays; failures do not matter."""
    try:
        await s.data_file.pdiscard(offset, s.geometry.cluster_size)
    except BlockIOError as error:
        log.debug("qcow2: discard of a kept cluster failed: %s", error.desc)

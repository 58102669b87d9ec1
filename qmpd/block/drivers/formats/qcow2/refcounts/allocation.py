"""Allocating and freeing clusters: their refcounts, and the blocks that hold these."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.layout import MAX_CLUSTER_OFFSET, OFFSET_MASK
from qmpd.block.drivers.formats.qcow2.refcounts import grow
from qmpd.block.drivers.formats.qcow2.refcounts.counts import (
    Discard,
    NeedBlock,
    block_offset,
    change_refcounts,
    find_free_clusters,
    finish_change,
    get_refcount,
)
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import c_hex, corruption, signal_corruption
from qmpd.block.drivers.formats.qcow2.refcounts.reuse import before_reuse
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

log = logging.getLogger("qmpd.block.qcow2")


class TryAgain(BlockIOError):
    """Refcount structures were allocated; the search for free clusters must be repeated."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN)


async def update_refcount(
    s: Qcow2State, offset: int, length: int, addend: int, kind: Discard = Discard.NEVER
) -> None:
    """Add `addend` (negative: subtract) to the refcount of each cluster of a range.

    All or nothing, except that undoing may fail as well.  QEMU's update_refcount.

    :param offset: file offset in bytes, as `length`; both need not be aligned
    :raises TryAgain: a refcount block had to be allocated, nothing is changed
    :raises BlockIOError: EINVAL for a refcount that would leave its range
    """
    if length <= 0:
        return
    bits = s.geometry.cluster_bits
    first, last = offset >> bits, (offset + length - 1) >> bits
    stop, failure = await change_refcounts(s, first, last, addend, kind)
    if isinstance(failure, NeedBlock):
        # Made while the changes so far still count: it must not be put on these clusters.
        try:
            lowest = await _add_block(s, failure.cluster_index)
        except BlockIOError as error:
            failure = error
        else:
            s.free_cluster_index = min(s.free_cluster_index, first, lowest)
            failure = TryAgain()
    await finish_change(s, first, stop, addend, failure)


async def _add_block(s: Qcow2State, cluster_index: int) -> int:
    """Make the refcount block of a cluster, or the one that its own counting needs first.

    :returns: the lowest of the clusters that a block was wanted for
    """
    lowest = cluster_index
    while True:
        try:
            replaced = await grow.alloc_refcount_block(s, cluster_index)
        except NeedBlock as need:
            cluster_index = need.cluster_index
            lowest = min(lowest, cluster_index)
            continue
        if replaced is not None:
            await free_clusters(s, *replaced, Discard.OTHER)
        return lowest


async def refcount_area(s: Qcow2State, start: int, additional: int) -> int:
    """Make a refcount table no larger than needed, with its blocks, and free the old one.

    :param start: file offset of a cluster; nothing may be in use from there on
    :param additional: clusters behind the new structures that they must be able to count
    :returns: file offset of the end of the new structures
    """
    end, replaced = await grow.refcount_area(s, start, additional, exact=True)
    await free_clusters(s, *replaced, Discard.OTHER)
    return end


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
        await before_reuse(s, first, found)
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
    """Drop one reference to each cluster of a range; a failure leaks them and is only told."""
    s.event("cluster_free")
    try:
        await update_refcount(s, offset, size, -1, kind)
    except BlockIOError as error:
        s.node.services.say.complain(f"qcow2_free_clusters failed: {error.desc}\n")


async def free_any_cluster(s: Qcow2State, entry: int, kind: Discard) -> None:
    """Drop the reference held by an L2 entry of any type."""
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

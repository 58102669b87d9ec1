"""Mapping virtual offsets to host offsets by the L1 table and L2 slices."""

from __future__ import annotations

import errno
import struct
from array import array
from typing import TYPE_CHECKING

from qmpd.base.sizes import INT_MAX
from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_L1_SIZE
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_L1_SIZE,
    OFFSET_MASK,
    OFLAG_COPIED,
)
from qmpd.block.drivers.formats.qcow2.options import ACTIVE_L1
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters, free_clusters
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import (
    c_hex,
    corruption,
    pre_write_overlap_check,
)
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.block.drivers.formats.qcow2.tables.entries import HAS_OFFSET, READS_AS_ZERO, Subcluster
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.cache import Table

_L1_POINTER = struct.Struct(">IQ")


def slice_index(s: Qcow2State, offset: int) -> int:
    """Index of the L2 entry of virtual `offset` within its slice."""
    return (offset >> s.geometry.cluster_bits) & (s.l2_slice_size - 1)


async def load_slice(s: Qcow2State, offset: int, l2_offset: int) -> Table:
    """Get the L2 slice for virtual `offset` of the table at file offset `l2_offset`."""
    geometry = s.geometry
    index = (offset >> geometry.cluster_bits) & (geometry.l2_size - 1)
    start = index - (index & (s.l2_slice_size - 1))
    return await s.l2_cache.get(l2_offset + start * geometry.l2_entry_size)


async def check_l2_offset(s: Qcow2State, l1_index: int) -> int:
    """File offset of the L2 table of `l1_index`, 0 for none.

    :raises BlockIOError: EIO, it is not aligned to a cluster
    """
    l2_offset = s.l1[l1_index] & OFFSET_MASK
    if s.geometry.offset_into_cluster(l2_offset):
        raise await corruption(
            s, f"L2 table offset {c_hex(l2_offset)} unaligned (L1 index: {c_hex(l1_index)})"
        )
    return l2_offset


def without_table(s: Qcow2State, offset: int, length: int) -> int:
    """Number of bytes from virtual `offset` without an L2 table; 0 if there is one.

    A fast `get_host_offset` for the images of a long chain that hold nothing there.
    """
    geometry = s.geometry
    l1_index = offset >> geometry.l1_shift
    if l1_index < len(s.l1) and s.l1[l1_index] & OFFSET_MASK:
        return 0
    slice_bits = s.l2_slice_size << geometry.cluster_bits
    return min(length, slice_bits - (offset & (slice_bits - 1)))


async def get_host_offset(s: Qcow2State, offset: int, length: int) -> tuple[Subcluster, int, int]:
    """Look up where virtual `offset` is stored (qcow2_get_host_offset).

    :param length: number of bytes of interest
    :returns: the type of the (sub)cluster; its host offset (for a compressed cluster the
        L2 entry; 0 where nothing is allocated); and how many of the bytes are of the same
        type and, if allocated, adjacent in the file
    """
    geometry = s.geometry
    in_cluster = offset & (geometry.cluster_size - 1)
    needed = length + in_cluster
    available = (s.l2_slice_size - slice_index(s, offset)) << geometry.cluster_bits
    needed = min(needed, available)
    l1_index = offset >> geometry.l1_shift
    l2_offset = 0
    if l1_index < len(s.l1):
        l2_offset = await check_l2_offset(s, l1_index)
    if not l2_offset:
        return Subcluster.UNALLOCATED_PLAIN, 0, needed - in_cluster
    table = await load_slice(s, offset, l2_offset)
    try:
        if geometry.extended_l2:
            kind, host, count = await _look_up_extended(s, table, l2_offset, offset, needed)
        else:
            kind, host, count = await _look_up(s, table, l2_offset, offset, needed)
    finally:
        s.l2_cache.put(table)
    return kind, host, min(count, needed) - in_cluster


async def _look_up(
    s: Qcow2State, table: Table, l2_offset: int, offset: int, needed: int
) -> tuple[Subcluster, int, int]:
    """`get_host_offset` in a slice of standard entries; bytes count from the cluster's start."""
    geometry, entries = s.geometry, table.data
    index = slice_index(s, offset)
    entry = entries[index]
    kind = s.rules.subcluster_type(entry, 0, 0)
    host = await _host_offset(s, kind, entry, l2_offset, index, offset)
    step = geometry.cluster_size
    if kind is Subcluster.COMPRESSED:
        return kind, host, step
    stop = index + geometry.clusters(needed)
    position = index + 1
    if kind in HAS_OFFSET:
        expected = entry & ~OFLAG_COPIED
        while position < stop:
            expected += step
            if entries[position] & ~OFLAG_COPIED != expected:
                break
            position += 1
    else:
        rules = s.rules
        while position < stop:
            other = entries[position]
            if other != entry and rules.subcluster_type(other, 0, 0) is not kind:
                break
            position += 1
    return kind, host, (position - index) * step


async def _look_up_extended(
    s: Qcow2State, table: Table, l2_offset: int, offset: int, needed: int
) -> tuple[Subcluster, int, int]:
    """`get_host_offset` in a slice of extended entries; bytes count from the cluster's start."""
    geometry, entries = s.geometry, table.data
    index = slice_index(s, offset)
    first = geometry.sc_index(offset)
    entry = entries[2 * index]
    kind, count = s.rules.range_type(entry, entries[2 * index + 1], first)
    host = await _host_offset(s, kind, entry, l2_offset, index, offset)
    total = first + count
    position = index + 1
    stop = index + geometry.clusters(needed)
    expected = entry & OFFSET_MASK
    while (
        kind not in (Subcluster.COMPRESSED, Subcluster.INVALID)
        and position < stop
        and total == (position - index) * geometry.subclusters_per_cluster
    ):
        entry = entries[2 * position]
        other, count = s.rules.range_type(entry, entries[2 * position + 1], 0)
        expected += geometry.cluster_size
        if other is Subcluster.INVALID:
            kind, index = other, position
        elif other is kind and (kind not in HAS_OFFSET or entry & OFFSET_MASK == expected):
            total += count
            position += 1
        else:
            break
    if kind is Subcluster.INVALID:
        raise await corruption(
            s,
            f"Invalid cluster entry found  (L2 offset: {c_hex(l2_offset)},"
            f" L2 index: {c_hex(index)})",
        )
    return kind, host, total << geometry.subcluster_bits


async def _host_offset(
    s: Qcow2State, kind: Subcluster, entry: int, l2_offset: int, index: int, offset: int
) -> int:
    """Check an entry; returns the host offset, or the entry itself if it is compressed."""
    where = f"(L2 offset: {c_hex(l2_offset)}, L2 index: {c_hex(index)})"
    if s.header.version < 3 and kind in READS_AS_ZERO:
        raise await corruption(s, f"Zero cluster entry found in pre-v3 image {where}")
    if kind is Subcluster.COMPRESSED:
        if s.has_data_file:
            raise await corruption(
                s, f"Compressed cluster entry found in image with external data file {where}"
            )
        return entry
    if kind not in HAS_OFFSET:
        return 0
    cluster = entry & OFFSET_MASK
    in_cluster = s.geometry.offset_into_cluster(offset)
    if s.geometry.offset_into_cluster(cluster):
        raise await corruption(s, f"Cluster allocation offset {c_hex(cluster)} unaligned {where}")
    if s.has_data_file and cluster + in_cluster != offset:
        raise await corruption(
            s,
            f"External data file host cluster offset {c_hex(cluster)} does not match guest cluster"
            f" offset: {c_hex(offset - in_cluster)}, L2 index: {c_hex(index)})",
        )
    return cluster + in_cluster


async def get_cluster_table(s: Qcow2State, offset: int) -> tuple[Table, int]:
    """Get a writable L2 slice for virtual `offset`, to be put back, and the index in it.

    Grows the L1 table, and allocates or copies the L2 table, as needed (get_cluster_table).
    """
    l1_index = offset >> s.geometry.l1_shift
    if l1_index >= len(s.l1):
        await grow_l1_table(s, l1_index + 1, exact=False)
    l2_offset = await check_l2_offset(s, l1_index)
    if not s.l1[l1_index] & OFLAG_COPIED:
        await l2_allocate(s, l1_index)
        if l2_offset:
            await free_clusters(s, l2_offset, s.geometry.cluster_size, Discard.OTHER)
        l2_offset = s.l1[l1_index] & OFFSET_MASK
    return await load_slice(s, offset, l2_offset), slice_index(s, offset)


async def l2_allocate(s: Qcow2State, l1_index: int) -> None:
    """Allocate an L2 table for `l1_index`: empty, or a copy of the shared one."""
    geometry = s.geometry
    old_entry = s.l1[l1_index]
    l2_offset = await alloc_clusters(s, geometry.cluster_size)
    try:
        if l2_offset == 0:
            raise await corruption(s, "Preventing invalid allocation of L2 table at offset 0")
        await s.refcount_cache.flush()
        step = s.l2_slice_size * geometry.l2_entry_size
        for start in range(0, geometry.cluster_size, step):
            old_offset = old_entry & OFFSET_MASK
            if old_offset:
                s.event("l2_alloc_cow_read")
                old = await s.l2_cache.get(old_offset + start)
                data = old.data[:]
                s.l2_cache.put(old)
            else:
                data = array("Q", bytes(step))
            table = await s.l2_cache.get_empty(l2_offset + start, data)
            s.event("l2_alloc_write")
            table.dirty = True
            s.l2_cache.put(table)
        await s.l2_cache.flush()
        s.set_l1_entry(l1_index, l2_offset | OFLAG_COPIED)
        await write_l1_entry(s, l1_index)
    except BlockIOError:
        s.set_l1_entry(l1_index, old_entry)
        if l2_offset > 0:
            await free_clusters(s, l2_offset, geometry.cluster_size, Discard.ALWAYS)
        raise


async def write_l1_entry(s: Qcow2State, l1_index: int) -> None:
    """Write an L1 entry, with its neighbours up to the file's alignment."""
    size = max(ENTRY_SIZE, min(s.file.request_alignment, s.geometry.cluster_size))
    count = size // ENTRY_SIZE
    start = l1_index // count * count
    raw = encode_entries(s.l1[start : start + count]).ljust(size, b"\0")
    where = s.header.l1_table_offset + start * ENTRY_SIZE
    await pre_write_overlap_check(s, ACTIVE_L1, where, size)
    s.event("l1_update")
    await s.pwrite_sync(where, raw)


async def grow_l1_table(s: Qcow2State, entries: int, *, exact: bool) -> None:
    """Reallocate the L1 table if it has fewer than `entries`.

    :param exact: no more than `entries`; otherwise half as many again, to grow less often
    :raises BlockIOError: EFBIG beyond QCOW_MAX_L1_SIZE, or an error of writing
    """
    old_size = len(s.l1)
    if entries <= old_size:
        return
    if entries > INT_MAX // ENTRY_SIZE:
        raise BlockIOError(errno.EFBIG)
    size = entries
    if not exact:
        size = old_size or 1
        while entries > size:
            size = (size * 3 + 1) // 2
    if size > MAX_L1_SIZE // ENTRY_SIZE:
        raise BlockIOError(errno.EFBIG)
    table = s.l1 + array("Q", bytes((size - old_size) * ENTRY_SIZE))
    s.event("l1_grow_alloc_table")
    offset = await alloc_clusters(s, size * ENTRY_SIZE)
    try:
        await s.refcount_cache.flush()
        await pre_write_overlap_check(s, 0, offset, size * ENTRY_SIZE)
        s.event("l1_grow_write_table")
        await s.pwrite_sync(offset, encode_entries(table))
        s.event("l1_grow_activate_table")
        await s.pwrite_sync(OFFSET_L1_SIZE, _L1_POINTER.pack(size, offset))
    except BlockIOError:
        await free_clusters(s, offset, size * ENTRY_SIZE, Discard.OTHER)
        raise
    old_offset = s.header.l1_table_offset
    s.grow_l1(table)
    s.header.l1_table_offset = offset
    s.header.l1_size = size
    await free_clusters(s, old_offset, old_size * ENTRY_SIZE, Discard.OTHER)


async def shrink_l1_table(s: Qcow2State, entries: int) -> None:
    """Clear the L1 entries from `entries` on and free their L2 tables; the size stays."""
    size = len(s.l1)
    if entries >= size:
        return
    s.event("l1_shrink_write_table")
    try:
        await s.file.pwrite_zeroes(
            s.header.l1_table_offset + entries * ENTRY_SIZE, (size - entries) * ENTRY_SIZE
        )
        await s.file.flush()
    except BlockIOError:
        s.set_l1(s.l1[:entries] + array("Q", bytes((size - entries) * ENTRY_SIZE)))
        raise
    s.event("l1_shrink_free_l2_clusters")
    for index in range(size - 1, entries - 1, -1):
        l2_offset = s.l1[index] & OFFSET_MASK
        if l2_offset:
            await free_clusters(s, l2_offset, s.geometry.cluster_size, Discard.ALWAYS)
            s.set_l1_entry(index, 0)

"""Finding and allocating the host clusters that a guest write goes to.

A write is cut into runs that are adjacent in the file.  For each part of a run
whose L2 entries must change there is an `L2Meta`, which stays on the image's list
of allocations in flight until its entries are linked, or its clusters freed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.newest_first import NewestFirst
from qmpd.base.sizes import REQUEST_MAX_BYTES
from qmpd.block.drivers.formats.qcow2.clusters.link import release
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_cluster_table, slice_index
from qmpd.block.drivers.formats.qcow2.header.layout import OFFSET_MASK, OFLAG_ZERO
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters, alloc_clusters_at
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import c_hex, corruption
from qmpd.block.drivers.formats.qcow2.tables.entries import (
    Subcluster,
    count_leading_zeros,
    count_trailing_zeros,
)
from qmpd.block.drivers.formats.qcow2.tables.l2_meta import L2Meta
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.cache import Table


async def alloc_host_offset(
    s: Qcow2State,
    offset: int,
    length: int,
    before_waiting: Callable[[], Awaitable[None]] | None = None,
) -> tuple[int, int, list[L2Meta]]:
    """Find or allocate host clusters for a write (qcow2_alloc_host_offset).

    Call with the image's lock held.

    :param before_waiting: awaited without the lock before this waits for another write
    :returns: host offset of the first byte; bytes that are adjacent there, at least 1; the
        parts to link after the data is written, latest first.  On an error the parts that
        were made are freed.
    """
    while True:
        metas: NewestFirst[L2Meta] = NewestFirst()
        try:
            done = await _gather(s, offset, length, metas, before_waiting)
        except BaseException:
            await release(s, metas)
            raise
        if done is not None:
            return *done, metas


async def _gather(
    s: Qcow2State,
    offset: int,
    length: int,
    metas: NewestFirst[L2Meta],
    before_waiting: Callable[[], Awaitable[None]] | None,
) -> tuple[int, int] | None:
    """One attempt at `alloc_host_offset`; None if it had to wait and must be repeated."""
    host_offset: int | None = None
    next_host: int | None = None
    start, remaining = offset, length
    while remaining:
        count = _independent(s, start, remaining)
        if count == 0:
            if metas:
                break
            await _wait_for_conflict(s, start, before_waiting)
            return None
        found = await _handle_copied(s, start, count, next_host, metas)
        if found is None:
            found = await _handle_alloc(s, start, count, next_host, metas)
        host, count = found
        if not count:
            break
        if host_offset is None:
            host_offset = host
        next_host = host + count
        start += count
        remaining -= count
    assert host_offset is not None
    return host_offset, length - remaining


def _conflicts(s: Qcow2State, meta: L2Meta, start: int, end: int) -> bool:
    geometry = s.geometry
    cow_start, cow_end = meta.offset + meta.cow_start, meta.offset + meta.cow_end
    if end <= geometry.start_of_cluster(cow_start) or start >= geometry.round_up(cow_end):
        return False
    # In clusters that were there already only the bytes themselves can collide.
    return not (meta.keep_old and (end <= cow_start or start >= cow_end))


def _independent(s: Qcow2State, start: int, length: int) -> int:
    """Bytes from `start` that no allocation in flight overlaps; 0 if one does at `start`."""
    for meta in s.cluster_allocs:
        if _conflicts(s, meta, start, start + length):
            first = s.geometry.start_of_cluster(meta.offset + meta.cow_start)
            if start >= first:
                return 0
            length = first - start
    return length


async def _wait_for_conflict(
    s: Qcow2State, start: int, before_waiting: Callable[[], Awaitable[None]] | None
) -> None:
    """Release the lock until the allocation that overlaps `start` is finished."""
    meta = next(m for m in s.cluster_allocs if _conflicts(s, m, start, start + 1))
    waiter = Waiter()
    meta.waiting.append(waiter)
    s.lock.release()
    try:
        if before_waiting is not None:
            await before_waiting()
        await waiter
    finally:
        await s.lock.acquire()


def _slice_clusters(s: Qcow2State, start: int, length: int) -> int:
    """Number of clusters of a request, limited by its L2 slice and the largest request size."""
    geometry = s.geometry
    clusters = geometry.clusters(geometry.offset_into_cluster(start) + length)
    return min(
        clusters,
        s.l2_slice_size - slice_index(s, start),
        REQUEST_MAX_BYTES >> geometry.cluster_bits,
    )


def _count_single_write(
    s: Qcow2State, table: Table, index: int, limit: int, *, new_alloc: bool
) -> int:
    """Number of clusters from `index` for one write: all new, or all adjacent and in place."""
    entries = table.data
    step = 2 if s.geometry.extended_l2 else 1
    needs_new = s.rules.needs_new_alloc
    expected = entries[index * step] & OFFSET_MASK
    cluster_size = s.geometry.cluster_size
    for position in range(limit):
        entry = entries[(index + position) * step]
        if needs_new(entry) is not new_alloc:
            return position
        if not new_alloc:
            if entry & OFFSET_MASK != expected:
                return position
            expected += cluster_size
    return limit


async def _handle_copied(
    s: Qcow2State, start: int, length: int, next_host: int | None, metas: NewestFirst[L2Meta]
) -> tuple[int, int] | None:
    """Use clusters that can be written in place.

    :param next_host: host offset at which the run must continue; None for anywhere
    :returns: None if there is none at `start`; else host offset and bytes, 0 bytes if the
        cluster is not at `next_host`
    """
    geometry = s.geometry
    limit = _slice_clusters(s, start, length)
    table, index = await get_cluster_table(s, start)
    try:
        entry = table.data[index * 2 if geometry.extended_l2 else index]
        if s.rules.needs_new_alloc(entry):
            return None
        cluster = entry & OFFSET_MASK
        if geometry.offset_into_cluster(cluster):
            kind = "Preallocated zero" if entry & OFLAG_ZERO else "Data"
            raise await corruption(
                s,
                f"{kind} cluster offset {c_hex(cluster)} unaligned (guest offset: {c_hex(start)})",
            )
        if next_host is not None and cluster != next_host:
            return next_host, 0
        keep = _count_single_write(s, table, index, limit, new_alloc=False)
        in_cluster = geometry.offset_into_cluster(start)
        length = min(length, (keep << geometry.cluster_bits) - in_cluster)
        await _calculate_l2_meta(s, cluster, start, length, table, metas, keep_old=True)
        return cluster + in_cluster, length
    finally:
        s.l2_cache.put(table)


async def _handle_alloc(
    s: Qcow2State, start: int, length: int, next_host: int | None, metas: NewestFirst[L2Meta]
) -> tuple[int, int]:
    """Allocate clusters for a run (handle_alloc); 0 bytes if not possible at `next_host`."""
    geometry = s.geometry
    limit = _slice_clusters(s, start, length)
    table, index = await get_cluster_table(s, start)
    try:
        clusters = _count_single_write(s, table, index, limit, new_alloc=True)
        in_cluster = geometry.offset_into_cluster(start)
        if s.has_data_file:
            cluster = start - in_cluster
        elif next_host is None:
            cluster = await alloc_clusters(s, clusters << geometry.cluster_bits)
        else:
            cluster = geometry.start_of_cluster(next_host)
            clusters = await alloc_clusters_at(s, cluster, clusters)
            if not clusters:
                return next_host, 0
        length = min(length, (clusters << geometry.cluster_bits) - in_cluster)
        await _calculate_l2_meta(s, cluster, start, length, table, metas, keep_old=False)
        return cluster + in_cluster, length
    finally:
        s.l2_cache.put(table)


async def _calculate_l2_meta(
    s: Qcow2State,
    cluster: int,
    start: int,
    length: int,
    table: Table,
    metas: NewestFirst[L2Meta],
    *,
    keep_old: bool,
) -> None:
    """Add the `L2Meta` of a write to host offset `cluster`, unless no L2 entry changes."""
    geometry = s.geometry
    data_start = geometry.offset_into_cluster(start)
    data_end = data_start + length
    clusters = geometry.clusters(data_end)
    if geometry.extended_l2:
        if await _all_normal(s, start, data_start, data_end, table) and keep_old:
            return
        cow_start, cow_end = _cow_extended(s, start, length, table, keep_old=keep_old)
    elif keep_old:
        entries = table.data
        index = slice_index(s, start)
        if not any(entry & OFLAG_ZERO for entry in entries[index : index + clusters]):
            return
        first_zero = entries[index] & OFLAG_ZERO
        last_zero = entries[index + clusters - 1] & OFLAG_ZERO
        cow_start = 0 if first_zero else data_start
        cow_end = geometry.round_up(data_end) if last_zero else data_end
    else:
        cow_start, cow_end = 0, geometry.round_up(data_end)
    meta = L2Meta(
        start - data_start,
        cluster,
        clusters,
        cow_start=cow_start,
        data_start=data_start,
        data_end=data_end,
        cow_end=cow_end,
        keep_old=keep_old,
    )
    metas.add(meta)
    s.cluster_allocs.appendleft(meta)


async def _all_normal(
    s: Qcow2State, start: int, data_start: int, data_end: int, table: Table
) -> bool:
    """Whether every subcluster of the write is allocated; checks all entries on the way."""
    geometry = s.geometry
    index = slice_index(s, start)
    normal = True
    for position in range(geometry.clusters(data_end)):
        entry, bitmap = table.data[2 * (index + position) : 2 * (index + position) + 2]
        low = max(data_start, position << geometry.cluster_bits)
        high = min(data_end, (position + 1) << geometry.cluster_bits)
        first, last = geometry.sc_index(low), geometry.sc_index(high - 1)
        kind, count = s.rules.range_type(entry, bitmap, first)
        if kind is Subcluster.INVALID:
            l2_offset = s.l1[start >> geometry.l1_shift] & OFFSET_MASK
            raise await corruption(
                s,
                f"Invalid cluster entry found (L2 offset: {c_hex(l2_offset)},"
                f" L2 index: {c_hex(index + position)})",
            )
        normal = normal and kind is Subcluster.NORMAL and first + count > last
    return normal


def _cow_extended(
    s: Qcow2State, start: int, length: int, table: Table, *, keep_old: bool
) -> tuple[int, int]:
    """Start of the head to copy and end of the tail to copy, with extended L2 entries."""
    geometry = s.geometry
    bits, size = geometry.subcluster_bits, geometry.subcluster_size
    data_start = geometry.offset_into_cluster(start)
    data_end = data_start + length
    index = slice_index(s, start)
    last_index = index + geometry.clusters(data_end) - 1
    first_sc, last_sc = geometry.sc_index(start), geometry.sc_index(start + length - 1)
    entry, bitmap = table.data[2 * index : 2 * index + 2]
    kind = s.rules.subcluster_type(entry, bitmap, first_sc)
    plain = (Subcluster.ZERO_PLAIN, Subcluster.UNALLOCATED_PLAIN)
    if kind is Subcluster.COMPRESSED:
        cow_start = 0
    elif kind is Subcluster.NORMAL and keep_old:
        cow_start = data_start
    elif kind in plain or keep_old:
        cow_start = first_sc << bits
    else:
        cow_start = min(first_sc, count_trailing_zeros(bitmap)) << bits
    entry, bitmap = table.data[2 * last_index : 2 * last_index + 2]
    kind = s.rules.subcluster_type(entry, bitmap, last_sc)
    whole = geometry.round_up(data_end)
    subcluster_end = -(-data_end // size) * size
    if kind is Subcluster.COMPRESSED:
        cow_end = whole
    elif kind is Subcluster.NORMAL and keep_old:
        cow_end = data_end
    elif kind in plain or keep_old:
        cow_end = subcluster_end
    else:
        after = geometry.subclusters_per_cluster - last_sc - 1
        cow_end = whole - (min(after, count_leading_zeros(bitmap)) << bits)
    return cow_start, cow_end

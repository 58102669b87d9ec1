"""The end of an allocating write: copy on write, and linking the L2 entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_cluster_table
from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.header.layout import OFLAG_COPIED
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import free_any_cluster, free_clusters
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.tables.entries import alloc_range, zero_range

if TYPE_CHECKING:
    from array import array

    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.l2_meta import L2Meta

MERGE_READS = 16384
"""Data between two copied regions up to which both are read at once, in bytes."""


async def link_metas(s: Qcow2State, metas: list[L2Meta]) -> None:
    """Copy and link each part and remove it from the list; call with the lock held."""
    while metas:
        await link_l2(s, metas[0])
        _finished(s, metas.pop(0))


async def release(s: Qcow2State, metas: list[L2Meta]) -> None:
    """Free the clusters of parts that will not be linked; call with the lock held."""
    while metas:
        await abort_meta(s, metas.pop(0))


async def abort_meta(s: Qcow2State, meta: L2Meta) -> None:
    """Free the clusters of a part that failed."""
    if not s.has_data_file and not meta.keep_old:
        size = meta.nb_clusters << s.geometry.cluster_bits
        await free_clusters(s, meta.alloc_offset, size, Discard.NEVER)
    _finished(s, meta)


def _finished(s: Qcow2State, meta: L2Meta) -> None:
    if meta in s.cluster_allocs:
        s.cluster_allocs.remove(meta)
    meta.wake_dependents()


async def _read_cow(s: Qcow2State, meta: L2Meta) -> tuple[bytes, bytes]:
    """Read the two regions to copy, as the guest saw them."""
    head, tail = meta.data_start - meta.cow_start, meta.cow_end - meta.data_end
    start = meta.offset + meta.cow_start
    if head and tail and meta.data_end - meta.data_start <= MERGE_READS:
        s.event("cow_read")
        whole = await read_clusters(s, start, meta.cow_end - meta.cow_start)
        return whole[:head], whole[len(whole) - tail :]
    before = after = b""
    if head:
        s.event("cow_read")
        before = await read_clusters(s, start, head)
    if tail:
        s.event("cow_read")
        after = await read_clusters(s, meta.offset + meta.data_end, tail)
    return before, after


async def _write_cow(s: Qcow2State, host: int, data: bytes) -> None:
    if data:
        await pre_write_overlap_check(s, 0, host, len(data), data=True)
        s.event("cow_write")
        await s.data_file.pwrite(host, data)


async def perform_cow(s: Qcow2State, meta: L2Meta) -> None:
    """Copy the regions around the data, in one write with the data if `meta` has it."""
    if not meta.has_cow or meta.skip_cow:
        return
    s.lock.release()
    try:
        head, tail = await _read_cow(s, meta)
        if meta.data is not None:
            s.event("write_aio")
            merged = b"".join((head, meta.data, tail))
            await _write_cow(s, meta.alloc_offset + meta.cow_start, merged)
        else:
            await _write_cow(s, meta.alloc_offset + meta.cow_start, head)
            await _write_cow(s, meta.alloc_offset + meta.data_end, tail)
    finally:
        await s.lock.acquire()
    s.l2_cache.depends_on_flush = True


async def link_l2(s: Qcow2State, meta: L2Meta) -> None:
    """Link the clusters of `meta` and free the old ones (qcow2_alloc_cluster_link_l2)."""
    await perform_cow(s, meta)
    if s.options.lazy_refcounts:
        await s.mark_dirty()
    if s.accurate_refcounts:
        await s.l2_cache.set_dependency(s.refcount_cache)
    else:
        # Beyond QEMU: a table on the disk must not refer to a cluster that the file does not have
        # yet, or that has the data of its last owner still. Writing refcounts sees to that.
        s.l2_cache.depends_on_flush = True
    table, index = await get_cluster_table(s, meta.offset)
    table.dirty = True
    try:
        old = _set_entries(s, meta, table.data, index)
    finally:
        s.l2_cache.put(table)
    if not meta.keep_old:
        for entry in old:
            await free_any_cluster(s, entry, Discard.NEVER)


def _set_entries(s: Qcow2State, meta: L2Meta, table: array[int], index: int) -> list[int]:
    """Write the new entries into a slice; returns the old ones that were not empty."""
    geometry = s.geometry
    step = 2 if geometry.extended_l2 else 1
    old = []
    for position in range(meta.nb_clusters):
        at = (index + position) * step
        if table[at]:
            old.append(table[at])
        host = meta.alloc_offset + (position << geometry.cluster_bits)
        table[at] = host | OFLAG_COPIED
        if geometry.extended_l2 and not meta.prealloc:
            low = max(meta.cow_start, position << geometry.cluster_bits)
            high = min(meta.cow_end, (position + 1) << geometry.cluster_bits)
            first, last = geometry.sc_index(low), geometry.sc_index(high - 1) + 1
            bitmap = table[at + 1] | alloc_range(first, last)
            table[at + 1] = bitmap & ~zero_range(first, last)
    return old

"""New refcount blocks and larger refcount tables (alloc_refcount_block); they count themselves."""

from __future__ import annotations

import errno
import struct
from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_REFCOUNT_TABLE
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    INT64_MAX,
    MAX_REFTABLE_SIZE,
    REFT_OFFSET_MASK,
    refcount_metadata_size,
)
from qmpd.block.drivers.formats.qcow2.refcounts.codec import empty_refcounts
from qmpd.block.drivers.formats.qcow2.refcounts.counts import (
    NeedBlock,
    change_refcounts,
    find_free_clusters,
    finish_change,
    table_index,
)
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import corruption
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

TABLE_POINTER = struct.Struct(">QI")
"""In the header: where the refcount table is, and its clusters."""


async def alloc_refcount_block(s: Qcow2State, cluster_index: int) -> tuple[int, int] | None:
    """Make the refcount block of a cluster, and a larger refcount table where it needs one.

    :returns: file offset and bytes of the table that was replaced, for the caller to free
    :raises NeedBlock: the new block lies where no block counts it
    """
    index = table_index(s, cluster_index)
    await s.l2_cache.flush()
    new_block = await _new_block(s, cluster_index)
    if index < len(s.refcount_table):
        s.event("refblock_alloc_hookup")
        await s.pwrite_sync(
            s.header.refcount_table_offset + index * ENTRY_SIZE,
            new_block.to_bytes(ENTRY_SIZE, "big"),
        )
        s.set_refcount_block(index, new_block)
        return None
    s.event("reftable_grow")
    geometry = s.geometry
    used = max(cluster_index, new_block >> geometry.cluster_bits) + 1
    blocks_used = -(-used // geometry.refcount_block_size)
    start = (blocks_used * geometry.refcount_block_size) << geometry.cluster_bits
    _, replaced = await refcount_area(
        s, start, 0, exact=False, new_index=index, new_block=new_block
    )
    return replaced


async def _new_block(s: Qcow2State, cluster_index: int) -> int:
    """Place an empty refcount block for `cluster_index`, counted by itself or another; written."""
    geometry = s.geometry
    new_block = await find_free_clusters(s, 1, INT64_MAX)
    if new_block == 0:
        raise await corruption(s, "Preventing invalid allocation of refcount block at offset 0")
    own_index = new_block >> geometry.cluster_bits
    counts = empty_refcounts(geometry.refcount_block_size, geometry.refcount_order)
    bits = geometry.refcount_block_bits
    if own_index >> bits == cluster_index >> bits:
        counts[own_index & (geometry.refcount_block_size - 1)] = 1
    else:
        stop, failure = await change_refcounts(s, own_index, own_index, 1)
        if isinstance(failure, NeedBlock):
            raise failure
        await finish_change(s, own_index, stop, 1, failure)
        await s.refcount_cache.flush()
    table = await s.refcount_cache.get_empty(new_block, counts)
    table.dirty = True
    s.event("refblock_alloc_write")
    try:
        await s.refcount_cache.flush()
    finally:
        s.refcount_cache.put(table)
    return new_block


async def refcount_area(
    s: Qcow2State,
    start: int,
    additional: int,
    *,
    exact: bool,
    new_index: int = 0,
    new_block: int = 0,
) -> tuple[int, tuple[int, int]]:
    """Make a new refcount table with the blocks it needs, and switch to it.

    :param start: file offset of the area, a cluster's; nothing may be in use from there on
    :param additional: clusters after the area that the table must be able to count
    :param exact: make the table no larger than needed
    :param new_index: table index of `new_block`
    :param new_block: file offset of a refcount block to enter too; 0 for none
    :returns: file offset of the end of the area; file offset and bytes of the table that was
        replaced, for the caller to free
    """
    geometry = s.geometry
    _, total = refcount_metadata_size(
        (start >> geometry.cluster_bits) + additional,
        geometry.cluster_size,
        geometry.refcount_order,
        generous=not exact,
    )
    if total > MAX_REFTABLE_SIZE:
        raise BlockIOError(errno.EFBIG)
    first = (start >> geometry.cluster_bits) // geometry.refcount_block_size
    size = total if exact else total + -(-total // 2)
    per_cluster = geometry.cluster_size // ENTRY_SIZE
    clusters = -(-size // per_cluster)
    size = clusters * per_cluster
    if size > MAX_REFTABLE_SIZE:
        raise BlockIOError(errno.EFBIG)
    table = array("Q", bytes(size * ENTRY_SIZE))
    kept = min(size, s.max_refcount_table_index + 1, len(s.refcount_table))
    table[:kept] = s.refcount_table[:kept]
    if new_block:
        table[new_index] = new_block
    missing = sum(1 for index in range(first, total) if not table[index])
    table_offset = start + missing * geometry.cluster_size
    end = table_offset + clusters * geometry.cluster_size
    await _fill_blocks(s, table, first, total, start, end)
    s.event("refblock_alloc_write_blocks")
    await s.refcount_cache.flush()
    s.event("refblock_alloc_write_table")
    await s.pwrite_sync(table_offset, encode_entries(table))
    s.event("refblock_alloc_switch_table")
    await s.pwrite_sync(OFFSET_REFCOUNT_TABLE, TABLE_POINTER.pack(table_offset, clusters))
    replaced = s.header.refcount_table_offset, len(s.refcount_table) * ENTRY_SIZE
    s.header.refcount_table_offset = table_offset
    s.header.refcount_table_clusters = clusters
    s.set_refcount_table(table)
    return end, replaced


async def _fill_blocks(
    s: Qcow2State, table: array[int], first: int, total: int, start: int, end: int
) -> None:
    """Set the refcounts of the area `start`..`end` to one, making missing blocks."""
    geometry = s.geometry
    block_offset = start
    for index in range(first, total):
        existing = table[index] & REFT_OFFSET_MASK
        if existing:
            block = await s.refcount_cache.get(existing)
        else:
            counts = empty_refcounts(geometry.refcount_block_size, geometry.refcount_order)
            block = await s.refcount_cache.get_empty(block_offset, counts)
            block.dirty = True
            table[index] = block_offset
            block_offset += geometry.cluster_size
        covered = index * geometry.refcount_block_size
        low = max((start >> geometry.cluster_bits) - covered, 0)
        high = min((end >> geometry.cluster_bits) - covered, geometry.refcount_block_size)
        for position in range(low, high):
            block.data[position] = 1
            block.dirty = True
        s.refcount_cache.put(block)

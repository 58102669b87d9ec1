"""Emptying an image, so that its backing file shows through (qcow2_make_empty)."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.clusters.at_once import at_once
from qmpd.block.drivers.formats.qcow2.clusters.zero import cluster_discard
from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_L1_TABLE
from qmpd.block.drivers.formats.qcow2.header.layout import ENTRY_SIZE
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

_STEP: Final = 1 << 30
"""Bytes of the disk emptied at a time."""

_TABLES: Final = struct.Struct(">QQI")
"""In the header: where the L1 table and the refcount table are, and the latter's clusters."""


async def make_empty(s: Qcow2State) -> None:
    """Drop all clusters; truncate the file, too, if the image contains nothing else."""
    if _is_simple(s):
        async with s.lock:
            await _start_anew(s)
        return
    for offset in range(0, s.size, _STEP):
        length = min(_STEP, s.size - offset)
        # No cluster is given back to the file before the tables that show it are gone.
        async with s.lock, at_once(s):
            await cluster_discard(s, offset, length, Discard.SNAPSHOT, full=True)


def _is_simple(s: Qcow2State) -> bool:
    """Whether nothing but header, refcounts and L1 table must be kept."""
    return (
        s.header.version >= 3
        and not s.snapshots
        and s.header.bitmaps is None
        and not s.has_data_file
        and 3 + _l1_clusters(s) <= s.geometry.refcount_block_size
    )


def _l1_clusters(s: Qcow2State) -> int:
    return s.geometry.clusters(len(s.l1) * ENTRY_SIZE)


async def _start_anew(s: Qcow2State) -> None:
    """Lay the image out like a new one: header, refcount table, refcount block, L1 table.

    :raises BlockIOError: it failed; the image is unusable if the file was left inconsistent
    """
    try:
        async with at_once(s):
            await _lay_out(s)
    except BlockIOError:
        # With refcounts that were in doubt before, the file is not what is in memory any more.
        s.unusable = s.unusable or not s.accurate_refcounts
        raise


async def _lay_out(s: Qcow2State) -> None:
    cluster, l1_clusters = s.geometry.cluster_size, _l1_clusters(s)
    await s.l2_cache.empty()
    await s.refcount_cache.empty()
    s.event("l1_update")
    await s.file.pwrite_zeroes(s.header.l1_table_offset, l1_clusters * cluster)
    s.set_l1(array("Q", bytes(len(s.l1) * ENTRY_SIZE)))
    s.event("empty_image_prepare")
    await s.file.pwrite_zeroes(cluster, (2 + l1_clusters) * cluster)
    s.event("l1_update")
    s.event("reftable_update")
    await s.pwrite_sync(OFFSET_L1_TABLE, _TABLES.pack(3 * cluster, cluster, 1))
    header = s.header
    header.l1_table_offset, header.refcount_table_offset = 3 * cluster, cluster
    header.refcount_table_clusters = 1
    s.set_refcount_table(array("Q", bytes(cluster)))
    s.event("refblock_alloc")
    await s.pwrite_sync(cluster, (2 * cluster).to_bytes(ENTRY_SIZE, "big"))
    s.set_refcount_block(0, 2 * cluster)
    s.free_cluster_index, s.freed = 0, range(0)
    await alloc_clusters(s, 3 * cluster + len(s.l1) * ENTRY_SIZE)
    await s.mark_clean()
    await s.file.truncate((3 + l1_clusters) * cluster, exact=False)

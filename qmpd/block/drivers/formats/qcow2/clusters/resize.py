"""Changing the virtual size, and preallocation."""

from __future__ import annotations

import errno
import logging
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.base.sizes import INT_MAX, SECTOR
from qmpd.block.drivers.formats.qcow2.bitmaps.bitmaps import check_resize
from qmpd.block.drivers.formats.qcow2.clusters.allocate import alloc_host_offset
from qmpd.block.drivers.formats.qcow2.clusters.link import link_l2, link_metas, release
from qmpd.block.drivers.formats.qcow2.clusters.mapping import (
    grow_l1_table,
    shrink_l1_table,
    slice_index,
)
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters
from qmpd.block.drivers.formats.qcow2.clusters.zero import cluster_discard, zeroize
from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_SIZE
from qmpd.block.drivers.formats.qcow2.header.layout import REFT_OFFSET_MASK
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import (
    alloc_clusters_at,
    free_clusters,
    refcount_area,
)
from qmpd.block.drivers.formats.qcow2.refcounts.codec import last_used
from qmpd.block.drivers.formats.qcow2.refcounts.counts import (
    Discard,
    process_discards,
    queue_discard,
    table_index,
)
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import c_hex, corruption
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.block.drivers.formats.qcow2.tables.l2_meta import L2Meta
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

log = logging.getLogger("qmpd.block.qcow2")

PREALLOC_MODES = ("off", "metadata", "falloc", "full")


def failed(error: BlockIOError, what: str) -> BlockIOError:
    """The error with text `what` and that of its errno (error_setg_errno)."""
    return BlockIOError(error.errno, f"{what}: {BlockIOError(error.errno).desc}")


async def truncate(
    s: Qcow2State, size: int, *, exact: bool, prealloc: str = "off", zero: bool = False
) -> None:
    """Change the virtual size.

    :param size: new size in bytes
    :param exact: whether an external data file must have exactly that size
    :param prealloc: PreallocMode for the added area
    :param zero: the added area must read as zeroes even if the backing file has data there
    :raises BlockIOError: with QEMU's text
    """
    async with s.lock:
        await truncate_locked(s, size, exact=exact, prealloc=prealloc, zero=zero)


async def truncate_locked(
    s: Qcow2State, size: int, *, exact: bool, prealloc: str = "off", zero: bool = False
) -> None:
    """Do the same with the lock held, which is let go meanwhile only for `zero`."""
    if prealloc not in PREALLOC_MODES:
        raise BlockIOError(errno.ENOTSUP, f"Unsupported preallocation mode '{prealloc}'")
    if size % SECTOR:
        raise BlockIOError(errno.EINVAL, f"The new size must be a multiple of {SECTOR}")
    if s.snapshots and s.header.version < 3:
        raise BlockIOError(errno.ENOTSUP, "Can't resize a v2 image which has snapshots")
    await check_resize(s)
    old_size = s.size
    if size < old_size:
        if prealloc != "off":
            raise BlockIOError(errno.EINVAL, "Preallocation can't be used for shrinking an image")
        await _shrink(s, size)
    else:
        try:
            await grow_l1_table(s, s.geometry.l1_entries(size), exact=True)
        except BlockIOError as error:
            raise failed(error, "Failed to grow the L1 table") from error
        manners = s.node.graph.services.manners
        if s.data_file_raw and prealloc == "off" and manners.raw_data_files_are_preallocated:
            prealloc = "metadata"
    zero = await _preallocate(s, old_size, size, exact=exact, prealloc=prealloc, zero=zero)
    if zero and size > old_size:
        await _zero_added(s, old_size, size)
    if prealloc != "off":
        try:
            await s.write_caches()
        except BlockIOError as error:
            what = "Failed to flush the preallocated area to disk"
            raise failed(error, what) from error
    s.size = size
    try:
        await s.pwrite_sync(OFFSET_SIZE, size.to_bytes(8, "big"))
    except BlockIOError as error:
        raise failed(error, "Failed to update the image size") from error
    s.l1_vm_state_index = s.geometry.l1_entries(size)


async def _shrink(s: Qcow2State, size: int) -> None:
    """Free everything beyond `size` and truncate the file after the last used cluster."""
    start = s.geometry.round_up(size)
    try:
        await cluster_discard(s, start, s.size - start, Discard.ALWAYS, full=True)
    except BlockIOError as error:
        raise failed(error, "Failed to discard cropped clusters") from error
    try:
        await shrink_l1_table(s, s.geometry.l1_entries(size))
    except BlockIOError as error:
        raise failed(error, "Failed to reduce the number of L2 tables") from error
    try:
        await shrink_refcount_table(s)
    except BlockIOError as error:
        raise failed(error, "Failed to discard unused refblocks") from error
    file_size = s.file.length
    try:
        end = (await last_cluster(s, file_size) + 1) << s.geometry.cluster_bits
    except BlockIOError as error:
        raise failed(error, "Failed to find the last cluster") from error
    if end < file_size:
        if all(table < end for cache in s.caches for table in cache.changed):
            # Beyond QEMU: no table on the disk may refer to what is cut off. Those of a damaged
            # image may lie there themselves.
            with suppress(BlockIOError):
                await s.flush_caches()
        try:
            await s.file.truncate(end, exact=False)
        except BlockIOError as error:
            log.warning("warning: Failed to truncate the tail of the image: %s", error.desc)


async def last_cluster(s: Qcow2State, file_size: int) -> int:
    """Index of the last cluster in use of a file of `file_size` bytes.

    :raises BlockIOError: EIO, no cluster is in use
    """
    geometry = s.geometry
    # A file may go on for exabytes: nothing is in use behind the last block.
    counted = len(s.refcount_table) << geometry.refcount_block_bits
    stop = min(geometry.clusters(file_size), counted)
    while stop > 0:
        base = (stop - 1) & ~(geometry.refcount_block_size - 1)
        offset = s.refcount_table[base >> geometry.refcount_block_bits] & REFT_OFFSET_MASK
        if offset:
            table = await s.refcount_cache.get(offset)
            used = last_used(table.data, 0, stop - base)
            s.refcount_cache.put(table)
            if used >= 0:
                return base + used
        stop = base
    raise await corruption(s, "There are no references in the refcount table.")


async def shrink_refcount_table(s: Qcow2State) -> None:
    """Remove and free refcount blocks that count nothing but themselves (qcow2_shrink_reftable)."""
    geometry = s.geometry
    kept = array("Q", s.refcount_table)
    for index, entry in enumerate(s.refcount_table):
        offset = entry & REFT_OFFSET_MASK
        if not offset:
            kept[index] = 0
            continue
        table = await s.refcount_cache.get(offset)
        own = offset >> geometry.cluster_bits
        counts = table.data
        if own >> geometry.refcount_block_bits == index:
            position = own & (geometry.refcount_block_size - 1)
            unused = last_used(counts, 0, position) < 0 and (
                last_used(counts, position + 1, len(counts)) < 0
            )
        else:
            unused = last_used(counts, 0, len(counts)) < 0
        s.refcount_cache.put(table)
        if unused:
            kept[index] = 0
    await s.pwrite_sync(s.header.refcount_table_offset, encode_entries(kept))
    for index, entry in enumerate(s.refcount_table):
        if entry and not kept[index]:
            await _discard_block(s, entry & REFT_OFFSET_MASK)
            s.set_refcount_block(index, 0)
    s.set_refcount_table(s.refcount_table)
    if not s.cache_discards:
        await process_discards(s, True)


async def _discard_block(s: Qcow2State, block: int) -> None:
    """Free an unused refcount block, which any other block may count."""
    geometry = s.geometry
    cluster = block >> geometry.cluster_bits
    index = table_index(s, cluster)
    covering = 0
    if index < len(s.refcount_table):
        covering = s.refcount_table[index] & REFT_OFFSET_MASK
    if not covering:
        raise await corruption(
            s, f"Refblock at {c_hex(block)} is not covered by the refcount structures"
        )
    position = cluster & (geometry.refcount_block_size - 1)
    table = await s.refcount_cache.get(covering)
    count = table.data[position]
    if count == 1:
        table.data[position] = 0
        table.dirty = True
    s.refcount_cache.put(table)
    if count != 1:
        await corruption(
            s,
            f"Invalid refcount: refblock offset {c_hex(covering)}, reftable index {index},"
            f" block offset {c_hex(block)}, refcount {c_hex(count)}",
        )
        raise BlockIOError(errno.EINVAL)
    s.free_cluster_index = min(s.free_cluster_index, cluster)
    s.refcount_cache.discard(block)
    queue_discard(s, block, geometry.cluster_size)


async def _preallocate(
    s: Qcow2State, old_size: int, size: int, *, exact: bool, prealloc: str, zero: bool
) -> bool:
    """Preallocate according to `prealloc`; returns whether the added area must still be zeroed."""
    if prealloc == "off":
        if s.has_data_file:
            await s.data_file.truncate(size, exact=exact)
    elif prealloc == "metadata" or s.has_data_file:
        await preallocate_metadata(s, old_size, size, prealloc)
    else:
        return await _preallocate_data(s, old_size, size, prealloc, zero=zero)
    return zero


async def preallocate_metadata(s: Qcow2State, offset: int, end: int, prealloc: str) -> None:
    """Allocate and link clusters for a virtual range without writing data."""
    host = count = 0
    step = INT_MAX & ~(s.geometry.cluster_size - 1)
    while offset < end:
        try:
            host, count, metas = await alloc_host_offset(s, offset, min(end - offset, step))
        except BlockIOError as error:
            raise failed(error, "Allocating clusters failed") from error
        for meta in metas:
            meta.prealloc = True
        try:
            await link_metas(s, metas)
        except BlockIOError as error:
            await release(s, metas)
            raise failed(error, "Mapping clusters failed") from error
        offset += count
    if host + count > s.data_file.length:
        mode = "off" if prealloc == "metadata" else prealloc
        await s.data_file.truncate(host + count, exact=False, prealloc=mode)


async def _preallocate_data(
    s: Qcow2State, old_size: int, size: int, prealloc: str, *, zero: bool
) -> bool:
    """Allocate the added area, including its space, in one piece at the end of the file."""
    geometry = s.geometry
    file_size = s.file.length
    end = geometry.round_up(file_size)
    used = await last_cluster(s, file_size)
    end = (used + 1) << geometry.cluster_bits if used >= 0 else end
    start_virtual = geometry.start_of_cluster(old_size)
    clusters = (geometry.round_up(size) - start_virtual) >> geometry.cluster_bits
    tables = -(-clusters // (geometry.cluster_size // geometry.l2_entry_size)) + 1
    try:
        start = await refcount_area(s, end, clusters + tables)
    except BlockIOError as error:
        raise failed(error, "Failed to resize refcount structures") from error
    try:
        await alloc_clusters_at(s, start, clusters)
    except BlockIOError as error:
        raise failed(error, "Failed to allocate data clusters") from error
    length = clusters << geometry.cluster_bits
    try:
        await s.file.truncate(start + length, exact=False, prealloc=prealloc)
    except BlockIOError as error:
        await free_clusters(s, start, length, Discard.OTHER)
        raise error.prefixed("Failed to resize underlying file: ") from error
    # What a file grows by reads as zeroes, so the new clusters do when they show it.
    await _link_preallocated(s, start, old_size, clusters, show=zero)
    return False


async def _link_preallocated(
    s: Qcow2State, host: int, virtual: int, clusters: int, *, show: bool
) -> None:
    """Link `clusters` clusters from file offset `host` at `virtual`, copying a partial head."""
    geometry = s.geometry
    while clusters:
        count = min(clusters, s.l2_slice_size - slice_index(s, virtual))
        head = geometry.offset_into_cluster(virtual)
        virtual = geometry.start_of_cluster(virtual)
        length = count << geometry.cluster_bits
        meta = L2Meta(
            virtual,
            host,
            count,
            cow_start=0,
            data_start=head,
            data_end=length,
            cow_end=length,
            keep_old=False,
            prealloc=not show,
        )
        try:
            await link_l2(s, meta)
        except BlockIOError as error:
            await free_clusters(s, host, clusters << geometry.cluster_bits, Discard.OTHER)
            raise failed(error, "Failed to update L2 tables") from error
        virtual += length
        host += length
        clusters -= count


async def _zero_added(s: Qcow2State, old_size: int, size: int) -> None:
    """Zero the added area: by zero clusters, and by data in a partial first one."""
    step = s.geometry.subcluster_size
    start = -(-old_size // step) * step
    if size > start:
        # The disk still has its old size: whole clusters up to the new end are meant.
        s.size = size
        try:
            await zeroize(s, start, size - start, may_unmap=False)
        except BlockIOError as error:
            raise failed(error, "Failed to zero out new clusters") from error
        finally:
            s.size = old_size
    if start > old_size:
        s.lock.release()
        try:
            await write_clusters(s, old_size, bytes(min(start, size) - old_size))
        except BlockIOError as error:
            raise failed(error, "Failed to zero out the new area") from error
        finally:
            await s.lock.acquire()

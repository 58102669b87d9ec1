"""Storing the bitmaps when a node is closed or made read-only."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.bitmaps.directory import (
    AT_A_TIME,
    FLAG_AUTO,
    FLAG_IN_USE,
    MAX_PHYS_SIZE,
    MAX_TABLE_SIZE,
    StoredBitmap,
    check_constraints,
    entry_size,
    load_directory,
    name_bytes,
    serialized_clusters,
)
from qmpd.block.drivers.formats.qcow2.bitmaps.update import (
    free_bitmap,
    free_table,
    update_directory,
)
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_BITMAP_DIRECTORY_SIZE,
    MAX_BITMAPS,
)
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters, free_clusters
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def store_bitmaps(s: Qcow2State, *, release: bool) -> None:
    """Store the node's persistent bitmaps, new clusters first, then the directory, then the header.

    :param release: take them off the node afterwards (it is being closed)
    :raises QmpError: QEMU's text; the image has what it had before
    """
    entries = await load_directory(s)
    dropped: list[StoredBitmap] = []
    if await _match(s, entries, dropped):
        if not s.writable:
            raise GenericError("No write access")
        stored: list[StoredBitmap] = []
        try:
            for entry in entries:
                await s.rest()
                if entry.bitmap is not None and not entry.bitmap.readonly:
                    await _store_bitmap(s, entry, entry.bitmap)
                    stored.append(entry)
            try:
                await update_directory(s, entries)
            except BlockIOError as error:
                raise error.prefixed("Failed to update bitmap extension: ") from error
        except QmpError:
            for entry in stored:
                await free_bitmap(s, entry)
            raise
        for entry in dropped:
            await s.rest()
            await free_bitmap(s, entry)
    if release:
        for entry in entries:
            if entry.bitmap is not None:
                s.node.bitmaps.remove(entry.bitmap)


async def _match(s: Qcow2State, entries: list[StoredBitmap], dropped: list[StoredBitmap]) -> bool:
    """Match the node's bitmaps with the directory's entries, adding the ones not in it.

    :param dropped: receives the old tables of the entries that will be rewritten
    :returns: whether there is anything to store
    """
    count = len(entries)
    size = s.header.bitmaps.directory_size if s.header.bitmaps else 0
    need_write = False
    # where two have one name it means the first
    named = {entry.name: entry for entry in reversed(entries)}
    for index, bitmap in enumerate(list(s.node.bitmaps)):
        if not index % AT_A_TIME:
            await s.rest()
        if not bitmap.persistent or bitmap.inconsistent or bitmap.skip_store:
            continue
        name = name_bytes(bitmap.name)
        entry = named.get(name)
        if bitmap.readonly:
            if entry is not None:
                entry.bitmap = bitmap
            continue
        need_write = True
        text = bitmap.name or ""
        try:
            check_constraints(s, text, bitmap.granularity)
        except GenericError as error:
            raise error.prefixed(f"Bitmap '{text}' doesn't satisfy the constraints: ") from error
        if entry is None:
            count += 1
            size += entry_size(name)
            if count > MAX_BITMAPS:
                raise GenericError("Too many persistent bitmaps")
            if size > MAX_BITMAP_DIRECTORY_SIZE:
                raise GenericError("Bitmap directory is too large")
            entry = named[name] = StoredBitmap(name)
            entries.append(entry)
        else:
            if not entry.flags & FLAG_IN_USE:
                raise GenericError(f"Bitmap '{text}' already exists in the image")
            dropped.append(StoredBitmap(name, entry.table_offset, entry.table_size))
            entry.table_offset = entry.table_size = 0
        entry.flags = FLAG_AUTO if bitmap.enabled else 0
        entry.granularity_bits = bitmap.granularity.bit_length() - 1
        entry.bitmap = bitmap
    return need_write


async def _store_bitmap(s: Qcow2State, entry: StoredBitmap, bitmap: DirtyBitmap) -> None:
    """Write the bits and the table of a bitmap, and note in `entry` where they are."""
    name = bitmap.name
    cluster_size = s.geometry.cluster_size
    clusters = serialized_clusters(s, bitmap.size, bitmap.granularity)
    if clusters > MAX_TABLE_SIZE or clusters * cluster_size > MAX_PHYS_SIZE:
        raise GenericError(f"Bitmap '{name}' is too big")
    if not clusters:
        # QEMU allocates a table of no entries, and takes that for a failure.
        raise GenericError("No memory")
    table = array("Q", bytes(clusters * ENTRY_SIZE))
    table_bytes = clusters * ENTRY_SIZE
    table_offset = 0
    try:
        await _store_bits(s, table, bitmap)
        table_offset = await _allocate(s, table_bytes, name)
        await _checked_write(s, table_offset, encode_entries(table), name)
    except QmpError:
        await free_table(s, table)
        if table_offset:
            await free_clusters(s, table_offset, table_bytes, Discard.OTHER)
        raise
    entry.table_offset = table_offset
    entry.table_size = clusters


async def _store_bits(s: Qcow2State, table: array[int], bitmap: DirtyBitmap) -> None:
    """Write each cluster of bits with a dirty bit; the others are not allocated."""
    cluster_size = s.geometry.cluster_size
    covered = cluster_size * 8 * bitmap.granularity
    offset = bitmap.next_dirty(0)
    while offset is not None:
        index = offset // covered
        table[index] = await _allocate(s, cluster_size, bitmap.name)
        bits = bitmap.chunk(index * covered, covered)
        await _checked_write(s, table[index], bits.ljust(cluster_size, b"\0"), bitmap.name)
        await s.rest()
        end = (index + 1) * covered
        offset = bitmap.next_dirty(end) if end < bitmap.size else None


async def _allocate(s: Qcow2State, size: int, name: str | None) -> int:
    try:
        return await alloc_clusters(s, size)
    except BlockIOError as error:
        raise error.prefixed(f"Failed to allocate clusters for bitmap '{name}': ") from error


async def _checked_write(s: Qcow2State, offset: int, data: bytes, name: str | None) -> None:
    try:
        await pre_write_overlap_check(s, 0, offset, len(data))
    except BlockIOError as error:
        raise error.prefixed("Qcow2 overlap check failed: ") from error
    try:
        await s.file.pwrite(offset, data)
    except BlockIOError as error:
        raise error.prefixed(f"Failed to write bitmap '{name}' to file: ") from error

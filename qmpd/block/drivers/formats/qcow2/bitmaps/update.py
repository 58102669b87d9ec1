"""Updating the directory, tables and header extension of the bitmaps."""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.bitmaps.directory import (
    TABLE_OFFSET_MASK,
    StoredBitmap,
    check_table_entry,
    encode_directory,
)
from qmpd.block.drivers.formats.qcow2.header.fields import BitmapsExtension
from qmpd.block.drivers.formats.qcow2.header.layout import (
    AUTOCLEAR_BITMAPS,
    ENTRY_SIZE,
    MAX_BITMAPS,
)
from qmpd.block.drivers.formats.qcow2.options import BITMAP_DIRECTORY
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters, free_clusters
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.tables.long import decode_long, pieces
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def load_table(s: Qcow2State, entry: StoredBitmap) -> array[int]:
    """The table of a stored bitmap.

    :raises BlockIOError: EINVAL for an entry that is not allowed, or the read failed
    """
    raw = await s.file.pread(entry.table_offset, entry.table_size * ENTRY_SIZE)
    table = await decode_long(s, raw)
    cluster_size = s.geometry.cluster_size
    for _, piece in pieces(table):
        await s.rest()
        if not all(check_table_entry(item, cluster_size) for item in piece):
            raise BlockIOError(errno.EINVAL)
    return table


async def free_table(s: Qcow2State, table: array[int]) -> None:
    """Free the clusters that a table lists."""
    for entry in table:
        offset = entry & TABLE_OFFSET_MASK
        if offset:
            await free_clusters(s, offset, s.geometry.cluster_size, Discard.ALWAYS)


async def free_bitmap(s: Qcow2State, entry: StoredBitmap) -> None:
    """Free the clusters of a stored bitmap; they are leaked if its table cannot be read."""
    try:
        table = await load_table(s, entry)
    except BlockIOError:
        return
    await free_table(s, table)
    await free_clusters(s, entry.table_offset, entry.table_size * ENTRY_SIZE, Discard.OTHER)


async def _update_header_sync(s: Qcow2State) -> None:
    await s.update_header()
    await s.file.flush()


async def update_directory_in_place(s: Qcow2State, entries: list[StoredBitmap]) -> None:
    """Overwrite the directory, with the autoclear bit cleared meanwhile.

    :raises BlockIOError: what the file failed with, or EINVAL when it would not fit
    """
    extension = s.header.bitmaps
    autoclear = s.header.autoclear
    if extension is None or not autoclear & AUTOCLEAR_BITMAPS:
        raise BlockIOError(errno.EINVAL)
    s.header.autoclear = autoclear & ~AUTOCLEAR_BITMAPS
    await _update_header_sync(s)
    raw = await encode_directory(s, entries)
    if len(raw) != extension.directory_size:
        raise BlockIOError(errno.EINVAL)
    await pre_write_overlap_check(s, BITMAP_DIRECTORY, extension.directory_offset, len(raw))
    await s.file.pwrite(extension.directory_offset, raw)
    await _update_header_sync(s)
    s.header.autoclear |= AUTOCLEAR_BITMAPS
    await _update_header_sync(s)


async def update_directory(s: Qcow2State, entries: list[StoredBitmap]) -> None:
    """Write a new directory, let the header point at it, free the old one."""
    header = s.header
    old, old_autoclear = header.bitmaps, header.autoclear
    new: BitmapsExtension | None = None
    try:
        if entries:
            if len(entries) > MAX_BITMAPS:
                raise BlockIOError(errno.EINVAL)
            raw = await encode_directory(s, entries)
            new = BitmapsExtension(len(entries), len(raw), await alloc_clusters(s, len(raw)))
            await pre_write_overlap_check(s, 0, new.directory_offset, len(raw))
            await s.file.pwrite(new.directory_offset, raw)
            await s.flush_caches()
            header.autoclear |= AUTOCLEAR_BITMAPS
        else:
            header.autoclear &= ~AUTOCLEAR_BITMAPS
        header.bitmaps = new
        await _update_header_sync(s)
    except BlockIOError:
        if new is not None and new.directory_offset:
            await free_clusters(s, new.directory_offset, new.directory_size, Discard.OTHER)
        header.bitmaps, header.autoclear = old, old_autoclear
        raise
    if old is not None:
        await free_clusters(s, old.directory_offset, old.directory_size, Discard.OTHER)

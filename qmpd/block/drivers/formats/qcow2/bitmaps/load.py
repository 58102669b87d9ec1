"""Loading the stored bitmaps when a node is opened."""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.drivers.formats.qcow2.bitmaps.directory import (
    AT_A_TIME,
    FLAG_AUTO,
    FLAG_IN_USE,
    TABLE_ALL_ONES,
    TABLE_OFFSET_MASK,
    StoredBitmap,
    find_bitmap,
    load_directory,
    name_text,
    serialized_clusters,
)
from qmpd.block.drivers.formats.qcow2.bitmaps.update import load_table, update_directory_in_place
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def load_bitmaps(s: Qcow2State) -> bool:
    """Load the stored bitmaps into the node; in a writable one mark them in-use.

    :returns: whether the header was written on the way
    :raises QmpError: QEMU's text; nothing is loaded then
    """
    entries = await load_directory(s)
    writable = s.writable
    needs_update = False
    loaded: list[DirtyBitmap] = []
    try:
        for entry in entries:
            await s.rest()
            in_use = bool(entry.flags & FLAG_IN_USE)
            if in_use and find_bitmap(s, name_text(entry.name)) is not None:
                continue
            bitmap = await _load_bitmap(s, entry)
            s.node.bitmaps.add(bitmap)
            loaded.append(bitmap)
            bitmap.inconsistent = in_use
            if not in_use:
                entry.flags |= FLAG_IN_USE
                needs_update = True
        if needs_update and writable:
            try:
                await update_directory_in_place(s, entries)
            except BlockIOError as error:
                raise error.prefixed("Can't update bitmap directory: ") from error
    except QmpError:
        for bitmap in loaded:
            s.node.bitmaps.remove(bitmap)
        raise
    for bitmap in loaded:
        bitmap.readonly = not writable
    return needs_update and writable


async def _load_bitmap(s: Qcow2State, entry: StoredBitmap) -> DirtyBitmap:
    """The bitmap of a directory entry; without its bits when it was in use."""
    name = name_text(entry.name)
    if find_bitmap(s, name) is not None:
        raise GenericError(f"Bitmap already exists: {name}")
    in_use = bool(entry.flags & FLAG_IN_USE)
    bitmap = DirtyBitmap(
        s.size,
        1 << entry.granularity_bits,
        name,
        enabled=bool(entry.flags & FLAG_AUTO) and not in_use,
        persistent=True,
    )
    if in_use:
        return bitmap
    try:
        table = await load_table(s, entry)
    except BlockIOError as error:
        raise error.prefixed(
            f"Could not read bitmap_table table from image for bitmap '{name}': "
        ) from error
    try:
        await _load_bits(s, table, bitmap)
    except BlockIOError as error:
        raise error.prefixed(f"Could not read bitmap '{name}' from image: ") from error
    return bitmap


async def _load_bits(s: Qcow2State, table: array[int], bitmap: DirtyBitmap) -> None:
    if serialized_clusters(s, bitmap.size, bitmap.granularity) != len(table):
        raise BlockIOError(errno.EINVAL)
    cluster_size = s.geometry.cluster_size
    covered = cluster_size * 8 * bitmap.granularity
    for index, entry in enumerate(table):
        if not index % AT_A_TIME:
            await s.rest()
        offset = entry & TABLE_OFFSET_MASK
        start = index * covered
        if offset:
            bitmap.load_chunk(start, await s.file.pread(offset, cluster_size))
            await s.rest()
        elif entry & TABLE_ALL_ONES:
            bitmap.set(start, min(covered, bitmap.size - start))

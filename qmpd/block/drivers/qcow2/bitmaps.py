"""Persistent dirty bitmaps: loading, storing and removing them.

On disk a bitmap is a table of clusters that hold its bits; a directory lists
the bitmaps, and the autoclear bit says that the list may be believed.  While a
writable node has a bitmap in memory, its entry is marked in-use: whoever finds
that mark at open knows that the bits were lost.
"""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING

from qmpd.block.bitmap import DirtyBitmap
from qmpd.block.drivers.qcow2 import overlap
from qmpd.block.drivers.qcow2.bitmap_directory import (
    FLAG_AUTO,
    FLAG_IN_USE,
    FLAG_NAMES,
    MAX_PHYS_SIZE,
    MAX_TABLE_SIZE,
    TABLE_ALL_ONES,
    TABLE_OFFSET_MASK,
    StoredBitmap,
    bytes_needed,
    check_constraints,
    check_table_entry,
    encode_directory,
    entry_size,
    load_directory,
    name_bytes,
    name_text,
)
from qmpd.block.drivers.qcow2.cache import decode_entries, encode_entries
from qmpd.block.drivers.qcow2.extensions import BitmapsExtension
from qmpd.block.drivers.qcow2.layout import (
    AUTOCLEAR_BITMAPS,
    ENTRY_SIZE,
    MAX_BITMAP_DIRECTORY_SIZE,
    MAX_BITMAPS,
)
from qmpd.block.drivers.qcow2.overlap import pre_write_overlap_check
from qmpd.block.drivers.qcow2.refcounts import Discard, alloc_clusters, free_clusters
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.state import Qcow2State


_RESIZE_CHECKS = (
    ("busy", "currently in use by another operation and cannot be used"),
    ("readonly", "readonly and cannot be modified"),
    ("inconsistent", "inconsistent and cannot be used"),
)
"""What a stored bitmap must not be when the disk is resized, in the order it is checked."""


def find_bitmap(s: Qcow2State, name: str) -> DirtyBitmap | None:
    """The node's bitmap with that name."""
    return next((bitmap for bitmap in s.node.bitmaps if bitmap.name == name), None)


def check_can_store(s: Qcow2State, name: str, granularity: int) -> None:
    """Refuse a new persistent bitmap that could not be stored.

    :raises GenericError: QEMU's text
    """
    if find_bitmap(s, name) is not None:
        raise GenericError(f"Bitmap already exists: {name}")
    try:
        if s.header.version < 3:
            raise GenericError("Cannot store dirty bitmaps in qcow2 v2 files")
        check_constraints(s, name, granularity)
        names = [
            bitmap.name for bitmap in s.node.bitmaps if bitmap.persistent and not bitmap.skip_store
        ]
        if len(names) + 1 > MAX_BITMAPS:
            raise GenericError("Maximum number of persistent bitmaps is already reached")
        if sum(entry_size(name_bytes(n)) for n in [*names, name]) > MAX_BITMAP_DIRECTORY_SIZE:
            raise GenericError("Not enough space in the bitmap directory")
    except GenericError as error:
        where = s.node.device_or_node_name
        raise error.prefixed(f"Can't make bitmap '{name}' persistent in '{where}': ") from error


async def check_resize(s: Qcow2State) -> None:
    """Refuse to resize a disk with stored bitmaps that cannot follow.

    :raises QmpError: QEMU's text
    """
    for entry in await load_directory(s):
        bitmap = find_bitmap(s, name_text(entry.name))
        if bitmap is None:
            raise BlockIOError(
                errno.ENOTSUP,
                "Cannot resize qcow2 with persistent bitmaps that were not loaded into memory",
            )
        for flag, text in _RESIZE_CHECKS:
            if getattr(bitmap, flag):
                raise BlockIOError(errno.ENOTSUP, f"Bitmap '{bitmap.name}' is {text}")


async def bitmap_infos(s: Qcow2State) -> list[dict[str, object]]:
    """The Qcow2BitmapInfo list of the stored bitmaps."""
    return [
        {
            "name": name_text(entry.name),
            "granularity": 1 << entry.granularity_bits,
            "flags": [name for flag, name in FLAG_NAMES if entry.flags & flag],
        }
        for entry in await load_directory(s)
    ]


# Loading


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
            in_use = bool(entry.flags & FLAG_IN_USE)
            if in_use and find_bitmap(s, name_text(entry.name)) is not None:
                continue
            bitmap = await _load_bitmap(s, entry)
            s.node.bitmaps.insert(0, bitmap)
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
        table = await _load_table(s, entry)
    except BlockIOError as error:
        raise error.prefixed(
            f"Could not read bitmap_table table from image for bitmap '{name}': "
        ) from error
    try:
        await _load_bits(s, table, bitmap)
    except BlockIOError as error:
        raise error.prefixed(f"Could not read bitmap '{name}' from image: ") from error
    return bitmap


async def _load_table(s: Qcow2State, entry: StoredBitmap) -> array[int]:
    table = decode_entries(await s.file.pread(entry.table_offset, entry.table_size * ENTRY_SIZE))
    if not all(check_table_entry(item, s.geometry.cluster_size) for item in table):
        raise BlockIOError(errno.EINVAL)
    return table


def _serialized_clusters(s: Qcow2State, size: int, granularity: int) -> int:
    """Clusters of a stored bitmap; its bits are padded to 64."""
    padded = (bytes_needed(size, granularity) + 7) & ~7
    return s.geometry.clusters(padded)


async def _load_bits(s: Qcow2State, table: array[int], bitmap: DirtyBitmap) -> None:
    if _serialized_clusters(s, bitmap.size, bitmap.granularity) != len(table):
        raise BlockIOError(errno.EINVAL)
    cluster_size = s.geometry.cluster_size
    covered = cluster_size * 8 * bitmap.granularity
    for index, entry in enumerate(table):
        offset = entry & TABLE_OFFSET_MASK
        start = index * covered
        if offset:
            bitmap.load_chunk(start, await s.file.pread(offset, cluster_size))
        elif entry & TABLE_ALL_ONES:
            bitmap.set(start, min(covered, bitmap.size - start))


# Storing


async def store_bitmaps(s: Qcow2State, *, release: bool) -> None:
    """Store the node's persistent bitmaps, new clusters first, then the directory, then the header.

    :param release: take them off the node afterwards (it is being closed)
    :raises QmpError: QEMU's text; the image has what it had before
    """
    entries = await load_directory(s)
    dropped: list[StoredBitmap] = []
    if _match(s, entries, dropped):
        if not s.writable:
            raise GenericError("No write access")
        stored: list[StoredBitmap] = []
        try:
            for entry in entries:
                if entry.bitmap is not None and not entry.bitmap.readonly:
                    await _store_bitmap(s, entry, entry.bitmap)
                    stored.append(entry)
            try:
                await _update_directory(s, entries)
            except BlockIOError as error:
                raise error.prefixed("Failed to update bitmap extension: ") from error
        except QmpError:
            for entry in stored:
                await _free_bitmap(s, entry)
            raise
        for entry in dropped:
            await _free_bitmap(s, entry)
    if release:
        for entry in entries:
            if entry.bitmap is not None:
                s.node.bitmaps.remove(entry.bitmap)


def _match(s: Qcow2State, entries: list[StoredBitmap], dropped: list[StoredBitmap]) -> bool:
    """Match the node's bitmaps with the directory's entries, adding the ones not in it.

    :param dropped: gets the old tables of the entries that will be stored anew
    :returns: whether there is anything to store
    """
    count = len(entries)
    size = s.header.bitmaps.directory_size if s.header.bitmaps else 0
    need_write = False
    for bitmap in s.node.bitmaps:
        if not bitmap.persistent or bitmap.inconsistent or bitmap.skip_store:
            continue
        name = name_bytes(bitmap.name)
        entry = next((entry for entry in entries if entry.name == name), None)
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
            entry = StoredBitmap(name)
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
    clusters = _serialized_clusters(s, bitmap.size, bitmap.granularity)
    if clusters > MAX_TABLE_SIZE or clusters * cluster_size > MAX_PHYS_SIZE:
        raise GenericError(f"Bitmap '{name}' is too big")
    table = array("Q", bytes(clusters * ENTRY_SIZE))
    table_bytes = clusters * ENTRY_SIZE
    table_offset = 0
    try:
        await _store_bits(s, table, bitmap)
        table_offset = await _allocate(s, table_bytes, name) if clusters else 0
        if clusters:
            await _checked_write(s, table_offset, encode_entries(table), name)
    except QmpError:
        await _free_table(s, table)
        if table_offset:
            await free_clusters(s, table_offset, table_bytes, Discard.OTHER)
        raise
    entry.table_offset = table_offset
    entry.table_size = clusters


async def _store_bits(s: Qcow2State, table: array[int], bitmap: DirtyBitmap) -> None:
    """Write each cluster of bits that has a dirty one; the others stay out."""
    cluster_size = s.geometry.cluster_size
    covered = cluster_size * 8 * bitmap.granularity
    offset = bitmap.next_dirty(0)
    while offset is not None:
        index = offset // covered
        table[index] = await _allocate(s, cluster_size, bitmap.name)
        bits = bitmap.chunk(index * covered, covered)
        await _checked_write(s, table[index], bits.ljust(cluster_size, b"\0"), bitmap.name)
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


async def _free_table(s: Qcow2State, table: array[int]) -> None:
    for entry in table:
        offset = entry & TABLE_OFFSET_MASK
        if offset:
            await free_clusters(s, offset, s.geometry.cluster_size, Discard.ALWAYS)


async def _free_bitmap(s: Qcow2State, entry: StoredBitmap) -> None:
    """Free what a stored bitmap occupies; if its table cannot be read it is leaked."""
    try:
        table = await _load_table(s, entry)
    except BlockIOError:
        return
    await _free_table(s, table)
    await free_clusters(s, entry.table_offset, entry.table_size * ENTRY_SIZE, Discard.OTHER)


# The directory


async def _update_header_sync(s: Qcow2State) -> None:
    await s.update_header()
    await s.file.flush()


async def update_directory_in_place(s: Qcow2State, entries: list[StoredBitmap]) -> None:
    """Overwrite the directory, disowning it by the autoclear bit meanwhile.

    :raises BlockIOError: what the file failed with, or EINVAL when it would not fit
    """
    extension = s.header.bitmaps
    autoclear = s.header.autoclear
    if extension is None or not autoclear & AUTOCLEAR_BITMAPS:
        raise BlockIOError(errno.EINVAL)
    s.header.autoclear = autoclear & ~AUTOCLEAR_BITMAPS
    await _update_header_sync(s)
    raw = encode_directory(s, entries)
    if len(raw) != extension.directory_size:
        raise BlockIOError(errno.EINVAL)
    await pre_write_overlap_check(s, overlap.BITMAP_DIRECTORY, extension.directory_offset, len(raw))
    await s.file.pwrite(extension.directory_offset, raw)
    await _update_header_sync(s)
    s.header.autoclear |= AUTOCLEAR_BITMAPS
    await _update_header_sync(s)


async def _update_directory(s: Qcow2State, entries: list[StoredBitmap]) -> None:
    """Write a new directory, let the header point at it, free the old one."""
    header = s.header
    old, old_autoclear = header.bitmaps, header.autoclear
    new: BitmapsExtension | None = None
    try:
        if entries:
            if len(entries) > MAX_BITMAPS:
                raise BlockIOError(errno.EINVAL)
            raw = encode_directory(s, entries)
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
        if new is not None:
            await free_clusters(s, new.directory_offset, new.directory_size, Discard.OTHER)
        header.bitmaps, header.autoclear = old, old_autoclear
        raise
    if old is not None:
        await free_clusters(s, old.directory_offset, old.directory_size, Discard.OTHER)


async def remove_bitmap(s: Qcow2State, name: str) -> None:
    """Remove the stored copy of a bitmap; that there is none is no error.

    :raises QmpError: QEMU's text
    """
    if s.header.bitmaps is None:
        return
    async with s.lock:
        entries = await load_directory(s)
        raw = name_bytes(name)
        gone = next((entry for entry in entries if entry.name == raw), None)
        if gone is None:
            return
        entries.remove(gone)
        try:
            await _update_directory(s, entries)
        except BlockIOError as error:
            raise error.prefixed("Failed to update bitmap extension: ") from error
        await _free_bitmap(s, gone)

"""Persistent dirty bitmaps: checks before storing, listing and removing them.

On disk a bitmap is a table of clusters that hold its bits; a directory lists
the bitmaps, and the autoclear bit says that the directory is valid.  While a
writable node has a bitmap in memory, its entry is marked in-use: a program that finds
that mark at open knows that the bits were lost.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.bitmaps.directory import (
    FLAG_NAMES,
    MAX_NAME_SIZE,
    check_constraints,
    entry_size,
    find_bitmap,
    load_directory,
    name_bytes,
    name_text,
)
from qmpd.block.drivers.formats.qcow2.bitmaps.update import free_bitmap, update_directory
from qmpd.block.drivers.formats.qcow2.header.layout import MAX_BITMAP_DIRECTORY_SIZE, MAX_BITMAPS
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


_RESIZE_CHECKS = (
    ("busy", "currently in use by another operation and cannot be used"),
    ("readonly", "readonly and cannot be modified"),
    ("inconsistent", "inconsistent and cannot be used"),
)
"""What a stored bitmap must not be when the disk is resized, in the order it is checked."""

_LARGEST_ENTRY: Final = entry_size(bytes(MAX_NAME_SIZE))
"""Bytes of the directory that a bitmap takes at most."""


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
        _check_room(s, name)
    except GenericError as error:
        where = s.node.device_or_node_name
        raise error.prefixed(f"Can't make bitmap '{name}' persistent in '{where}': ") from error


def _check_room(s: Qcow2State, name: str) -> None:
    """Refuse a bitmap for which there is no room in the directory.

    :raises GenericError: QEMU's text
    """
    most = len(s.node.bitmaps) + 1
    if most <= MAX_BITMAPS and most * _LARGEST_ENTRY <= MAX_BITMAP_DIRECTORY_SIZE:
        # of all but a very full one nothing has to be counted
        return
    names = [
        bitmap.name for bitmap in s.node.bitmaps if bitmap.persistent and not bitmap.skip_store
    ]
    if len(names) + 1 > MAX_BITMAPS:
        raise GenericError("Maximum number of persistent bitmaps is already reached")
    if sum(entry_size(name_bytes(n)) for n in [*names, name]) > MAX_BITMAP_DIRECTORY_SIZE:
        raise GenericError("Not enough space in the bitmap directory")


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


async def remove_bitmap(s: Qcow2State, name: str) -> None:
    """Remove the stored copy of a bitmap, if there is one.

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
            await update_directory(s, entries)
        except BlockIOError as error:
            raise error.prefixed("Failed to update bitmap extension: ") from error
        await free_bitmap(s, gone)

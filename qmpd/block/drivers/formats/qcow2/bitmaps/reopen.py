"""Persistent bitmaps when a node is reopened read-only or writable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.bitmaps.directory import (
    FLAG_IN_USE,
    StoredBitmap,
    find_bitmap,
    load_directory,
    name_text,
)
from qmpd.block.drivers.formats.qcow2.bitmaps.store import store_bitmaps
from qmpd.block.drivers.formats.qcow2.bitmaps.update import update_directory_in_place
from qmpd.block.model.filename import filename
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def reopen_bitmaps_ro(s: Qcow2State) -> None:
    """Store the bitmaps and keep them in memory, read-only from now on.

    :raises QmpError: they could not be stored, QEMU's text
    """
    await store_bitmaps(s, release=False)
    for bitmap in s.node.bitmaps:
        if bitmap.persistent:
            bitmap.readonly = True


async def reopen_bitmaps_rw(s: Qcow2State) -> None:
    """Mark the stored bitmaps in-use, and let those in memory be changed again.

    :raises QmpError: memory and image contradict each other, QEMU's text
    """
    entries = await load_directory(s)
    readonly: list[DirtyBitmap] = []
    need_update = False
    for entry in entries:
        bitmap = find_bitmap(s, name_text(entry.name))
        if bitmap is None:
            raise GenericError(
                f"Unexpected bitmap '{name_text(entry.name)}' in image '{filename(s.node)}'"
            )
        need_update = _check_pair(s, entry, bitmap) or need_update
        if bitmap.readonly:
            readonly.append(bitmap)
    if need_update:
        if s.file.read_only:
            raise GenericError("Failed to reopen bitmaps rw: no write access the protocol file")
        try:
            await update_directory_in_place(s, entries)
        except BlockIOError as error:
            raise error.prefixed("Cannot update bitmap directory: ") from error
    for bitmap in readonly:
        bitmap.readonly = False


def _check_pair(s: Qcow2State, entry: StoredBitmap, bitmap: DirtyBitmap) -> bool:
    """Check a stored bitmap against its copy in memory; returns whether to mark it in-use."""
    if entry.flags & FLAG_IN_USE:
        if bitmap.readonly and not bitmap.inconsistent:
            wrong = "marked IN_USE in the image '{}' but it is readonly and consistent in RAM"
            raise _corruption(s, bitmap, wrong)
        return False
    if not bitmap.readonly:
        wrong = "not marked IN_USE in the image '{}' and not marked readonly in RAM"
        raise _corruption(s, bitmap, wrong)
    if bitmap.inconsistent:
        wrong = "inconsistent but is not marked IN_USE in the image '{}'"
        raise _corruption(s, bitmap, wrong)
    entry.flags |= FLAG_IN_USE
    return True


def _corruption(s: Qcow2State, bitmap: DirtyBitmap, wrong: str) -> GenericError:
    where = wrong.format(filename(s.node))
    return GenericError(f"Corruption: bitmap '{bitmap.name}' is {where}")

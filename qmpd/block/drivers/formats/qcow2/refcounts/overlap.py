"""Metadata overlap checks: no write may touch a cluster that holds something else.

`pre_write_overlap_check` is called before every write to the file; which kinds of
metadata it protects is the `overlap-check` option.  A write that would hit
metadata, or inconsistent metadata, marks the image as corrupt.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.header import UINT64_MAX, validate_table
from qmpd.block.drivers.formats.qcow2.header.layout import (
    AUTOCLEAR_BITMAPS,
    ENTRY_SIZE,
    INCOMPAT_CORRUPT,
    MAX_L1_SIZE,
    OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.options import (
    ACTIVE_L1,
    ACTIVE_L2,
    BITMAP_DIRECTORY,
    INACTIVE_L1,
    INACTIVE_L2,
    MAIN_HEADER,
    REFCOUNT_BLOCK,
    REFCOUNT_TABLE,
    SNAPSHOT_TABLE,
)
from qmpd.block.drivers.formats.qcow2.tables.cache import decode_entries
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from collections.abc import Set

    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

log = logging.getLogger("qmpd.block.qcow2")

NAMES = {
    MAIN_HEADER: "qcow2_header",
    ACTIVE_L1: "active L1 table",
    ACTIVE_L2: "active L2 table",
    REFCOUNT_TABLE: "refcount table",
    REFCOUNT_BLOCK: "refcount block",
    SNAPSHOT_TABLE: "snapshot table",
    INACTIVE_L1: "inactive L1 table",
    INACTIVE_L2: "inactive L2 table",
    BITMAP_DIRECTORY: "bitmap directory",
}


def c_hex(value: int) -> str:
    """Format a number like ``%#x`` of C: zero has no prefix."""
    return f"{value:#x}" if value else "0"


async def signal_corruption(
    s: Qcow2State, message: str, *, fatal: bool = True, offset: int = -1, size: int = -1
) -> None:
    """Report that the image is corrupt: BLOCK_IMAGE_CORRUPTED, at most twice per image.

    A fatal corruption of a writable image sets the corrupt bit in the header, and the
    node fails everything from then on with ENOMEDIUM.

    :param offset: file offset of the write that was prevented; -1 for none
    :param size: its length in bytes; -1 for none
    """
    fatal = fatal and s.writable
    corrupt = s.header.incompatible & INCOMPAT_CORRUPT
    if s.signaled_corruption and (not fatal or corrupt):
        return
    what = "Marking image as corrupt" if fatal else "Image is corrupt"
    kind = "" if fatal else "non-fatal "
    s.node.services.say.complain(
        f"qcow2: {what}: {message}; further {kind}corruption events will be suppressed\n"
    )
    data: dict[str, object] = {
        "device": s.node.device_name,
        "node-name": s.node.node_name,
        "msg": message,
    }
    if offset >= 0:
        data["offset"] = offset
    if size >= 0:
        data["size"] = size
    data["fatal"] = fatal
    s.node.services.emit("BLOCK_IMAGE_CORRUPTED", data)
    s.signaled_corruption = True
    if fatal:
        s.header.incompatible |= INCOMPAT_CORRUPT
        s.unusable = True
        try:
            await s.update_header()
        except BlockIOError as error:
            log.error("qcow2: the corrupt bit could not be written: %s", error.desc)


async def corruption(s: Qcow2State, message: str) -> BlockIOError:
    """Report a fatal corruption; returns the error to raise (EIO)."""
    await signal_corruption(s, message)
    return BlockIOError(errno.EIO)


def _overlaps(offset: int, end: int, start: int, length: int) -> bool:
    """Whether a write from `offset` to `end` touches a table (ranges_overlap).

    In 64 bits: a table of length 0 at 0 ends at the last byte there is, so everything touches it.
    """
    last = (start + length - 1) & UINT64_MAX
    return last >= offset and end > start


def _hits(s: Qcow2State, clusters: Set[int], offset: int, end: int) -> bool:
    step = s.geometry.cluster_size
    if end - offset == step:
        return offset in clusters
    if (end - offset) // step > len(clusters):
        return any(offset <= cluster < end for cluster in clusters)
    return not clusters.isdisjoint(range(offset, end, step))


async def _hits_inactive_l2(s: Qcow2State, offset: int, end: int) -> bool:
    step = s.geometry.cluster_size
    for snapshot in s.snapshots:
        where, size = snapshot.l1_table_offset, snapshot.l1_size
        try:
            validate_table(s.geometry, where, size, ENTRY_SIZE, MAX_L1_SIZE, "")
        except BlockIOError as error:
            raise BlockIOError(error.errno) from error
        raw = await s.file.pread(snapshot.l1_table_offset, snapshot.l1_size * ENTRY_SIZE)
        for entry in decode_entries(raw):
            table = entry & OFFSET_MASK
            if table and _overlaps(offset, end, table, step):
                return True
    return False


async def find_overlap(s: Qcow2State, ignore: int, offset: int, size: int) -> int:
    """The kind of metadata that a write of `size` bytes at `offset` would touch; 0 for none.

    :param ignore: kinds to ignore
    """
    check = s.options.overlap_check & ~ignore
    geometry, header = s.geometry, s.header
    if not size:
        return 0
    if check & MAIN_HEADER and offset < geometry.cluster_size:
        return MAIN_HEADER
    end = geometry.round_up(offset + size)
    offset = geometry.start_of_cluster(offset)
    ranges = (
        (ACTIVE_L1, header.l1_table_offset, len(s.l1) * ENTRY_SIZE),
        (REFCOUNT_TABLE, header.refcount_table_offset, len(s.refcount_table) * ENTRY_SIZE),
        (SNAPSHOT_TABLE, header.snapshots_offset, s.snapshots_size),
    )
    for kind, start, length in ranges:
        if check & kind and length and _overlaps(offset, end, start, length):
            return kind
    if check & INACTIVE_L1:
        for snapshot in s.snapshots:
            length = snapshot.l1_size * ENTRY_SIZE
            if length and _overlaps(offset, end, snapshot.l1_table_offset, length):
                return INACTIVE_L1
    if check & ACTIVE_L2 and not s.closing and _hits(s, s.l2_tables, offset, end):
        return ACTIVE_L2
    if check & REFCOUNT_BLOCK and _hits(s, s.refcount_blocks, offset, end):
        return REFCOUNT_BLOCK
    if check & INACTIVE_L2 and s.snapshots and await _hits_inactive_l2(s, offset, end):
        return INACTIVE_L2
    if check & BITMAP_DIRECTORY and header.autoclear & AUTOCLEAR_BITMAPS:
        # The bit without the extension: QEMU has a directory of length 0 at 0 then.
        bitmaps = header.bitmaps
        where = (bitmaps.directory_offset, bitmaps.directory_size) if bitmaps else (0, 0)
        if _overlaps(offset, end, *where):
            return BITMAP_DIRECTORY
    return 0


async def pre_write_overlap_check(
    s: Qcow2State, ignore: int, offset: int, size: int, *, data: bool = False
) -> None:
    """Refuse a write that would destroy metadata.

    :param ignore: kinds of metadata this write is meant for
    :param data: whether it goes to the data file
    :raises BlockIOError: EIO; the image is corrupt now
    """
    if data and s.has_data_file:
        return
    kind = await find_overlap(s, ignore, offset, size)
    if kind:
        await signal_corruption(
            s,
            f"Preventing invalid write on metadata (overlaps with {NAMES[kind]})",
            offset=offset,
            size=size,
        )
        raise BlockIOError(errno.EIO)


async def check_table_write(s: Qcow2State, kind: int, offset: int, size: int) -> None:
    """Do the same for a cached table of a kind, which may be told to be quiet."""
    if not s.overlaps_are_quiet:
        await pre_write_overlap_check(s, kind, offset, size)
    elif await find_overlap(s, kind, offset, size):
        raise BlockIOError(errno.EIO)

"""The bitmap directory of the bitmaps extension: encoding, checks and limits."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import as_int
from qmpd.block.drivers.formats.qcow2.header.layout import MAX_BITMAP_DIRECTORY_SIZE
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

MAX_TABLE_SIZE = 0x8000000
"""Entries of a bitmap table."""
MAX_PHYS_SIZE = 0x20000000
"""Bytes of a bitmap."""
MAX_GRANULARITY_BITS = 31
MIN_GRANULARITY_BITS = 9
MAX_NAME_SIZE = 1023

FLAG_IN_USE = 1 << 0
FLAG_AUTO = 1 << 1
FLAGS_RESERVED = 0xFFFF_FFFC
FLAG_NAMES = ((FLAG_IN_USE, "in-use"), (FLAG_AUTO, "auto"))
"""Flags as Qcow2BitmapInfoFlags names them, in its order."""
TYPE_DIRTY = 1

TABLE_RESERVED_MASK = 0xFF00_0000_0000_01FE
TABLE_OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
TABLE_ALL_ONES = 1 << 0

AT_A_TIME: Final = 256
"""Entries that are looked at before others may have their turn: there may be 65535."""

_ENTRY = struct.Struct(">QIIBBHI")


@dataclass(slots=True)
class StoredBitmap:
    """A directory entry.

    :param table_offset: file offset of the bitmap table
    :param table_size: its entries
    :param bitmap: the bitmap in memory that it belongs to, while they are matched
    """

    name: bytes
    table_offset: int = 0
    table_size: int = 0
    flags: int = 0
    granularity_bits: int = 16
    bitmap: DirtyBitmap | None = field(default=None, compare=False)


def name_bytes(name: str | None) -> bytes:
    """Encode a bitmap's name for the directory."""
    return (name or "").encode("utf-8", "surrogateescape")


def name_text(raw: bytes) -> str:
    """Decode a stored name; bytes that are not UTF-8 are kept as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def entry_size(name: bytes) -> int:
    """Bytes of the directory entry of a bitmap with that name."""
    return (_ENTRY.size + len(name) + 7) & ~7


def bytes_needed(size: int, granularity: int) -> int:
    """Size in bytes of the bits for a disk of `size` bytes."""
    return (-(-size // granularity) + 7) // 8


def check_constraints(s: Qcow2State, name: str, granularity: int) -> None:
    """Refuse a bitmap that cannot be stored.

    :raises GenericError: QEMU's text
    """
    bits = granularity.bit_length() - 1
    if bits > MAX_GRANULARITY_BITS:
        raise GenericError(f"Granularity exceeds maximum ({1 << MAX_GRANULARITY_BITS} bytes)")
    if bits < MIN_GRANULARITY_BITS:
        raise GenericError(f"Granularity is under minimum ({1 << MIN_GRANULARITY_BITS} bytes)")
    needed = bytes_needed(s.size, granularity)
    if needed > MAX_PHYS_SIZE or needed > MAX_TABLE_SIZE * s.geometry.cluster_size:
        raise GenericError("Too much space will be occupied by the bitmap. Use larger granularity")
    if len(name_bytes(name)) > MAX_NAME_SIZE:
        raise GenericError(f"Name length exceeds maximum ({MAX_NAME_SIZE} characters)")


def check_entry(s: Qcow2State, entry: StoredBitmap, kind: int = TYPE_DIRTY) -> bool:
    """Whether a directory entry is within the limits of check_dir_entry."""
    cluster_size = s.geometry.cluster_size
    if (
        s.unusable
        or entry.table_size == 0
        or entry.table_offset == 0
        or entry.table_offset % cluster_size
        or entry.table_size > MAX_TABLE_SIZE
        or not MIN_GRANULARITY_BITS <= entry.granularity_bits <= MAX_GRANULARITY_BITS
        or entry.flags & FLAGS_RESERVED
        or len(entry.name) > MAX_NAME_SIZE
        or kind != TYPE_DIRTY
    ):
        return False
    physical = entry.table_size * cluster_size
    if physical > MAX_PHYS_SIZE:
        return False
    # An in-use bitmap may be of a disk size that is long gone.
    return bool(entry.flags & FLAG_IN_USE) or s.size <= (physical * 8) << entry.granularity_bits


async def decode_directory(s: Qcow2State, raw: bytes, count: int) -> list[StoredBitmap]:
    """The entries of a directory.

    :param count: number of bitmaps according to the extension
    :raises GenericError: QEMU's text
    """
    entries: list[StoredBitmap] = []
    offset = 0
    while offset < len(raw):
        if offset + _ENTRY.size > len(raw):
            raise GenericError("Broken bitmap directory")
        if not len(entries) % AT_A_TIME:
            await s.rest()
        if len(entries) >= count:
            raise GenericError("More bitmaps found than specified in header extension")
        table_offset, table_size, flags, kind, bits, name_size, extra = _ENTRY.unpack_from(
            raw, offset
        )
        # QEMU has it in a C int: a size with huge extra data is negative.
        end = offset + as_int((_ENTRY.size + name_size + extra + 7) & ~7)
        if end > len(raw):
            raise GenericError("Broken bitmap directory")
        if extra:
            raise GenericError("Bitmap extra data is not supported")
        name = bytes(raw[offset + _ENTRY.size : offset + _ENTRY.size + name_size])
        entry = StoredBitmap(name.split(b"\0", 1)[0], table_offset, table_size, flags, bits)
        if name_size > MAX_NAME_SIZE or not check_entry(s, entry, kind):
            raise GenericError(f"Bitmap '{name_text(entry.name)}' doesn't satisfy the constraints")
        entries.append(entry)
        offset = end
    if len(entries) != count:
        raise GenericError("Less bitmaps found than specified in header extension")
    return entries


async def encode_directory(s: Qcow2State, entries: list[StoredBitmap]) -> bytes:
    """The directory of these entries.

    :raises BlockIOError: EINVAL, it would be empty or too large, or an entry is invalid
    """
    raw = bytearray()
    for index, entry in enumerate(entries):
        if not index % AT_A_TIME:
            await s.rest()
        if not check_entry(s, entry):
            raise BlockIOError(errno.EINVAL)
        raw += _ENTRY.pack(
            entry.table_offset,
            entry.table_size,
            entry.flags,
            TYPE_DIRTY,
            entry.granularity_bits,
            len(entry.name),
            0,
        )
        raw += entry.name
        raw += bytes(-len(raw) % 8)
    if not 0 < len(raw) <= MAX_BITMAP_DIRECTORY_SIZE:
        raise BlockIOError(errno.EINVAL)
    return bytes(raw)


async def load_directory(s: Qcow2State) -> list[StoredBitmap]:
    """Read and check the directory; empty without the extension.

    :raises GenericError: QEMU's text
    """
    extension = s.header.bitmaps
    if extension is None:
        return []
    if extension.directory_size == 0:
        raise GenericError("Requested bitmap directory size is zero")
    try:
        raw = await s.file.pread(extension.directory_offset, extension.directory_size)
    except BlockIOError as error:
        raise error.prefixed("Failed to read bitmap directory: ") from error
    return await decode_directory(s, raw, extension.nb_bitmaps)


def check_table_entry(entry: int, cluster_size: int) -> bool:
    """Whether an entry of a bitmap table is valid."""
    if entry & TABLE_RESERVED_MASK:
        return False
    offset = entry & TABLE_OFFSET_MASK
    return not offset or (not entry & TABLE_ALL_ONES and offset % cluster_size == 0)


def find_bitmap(s: Qcow2State, name: str) -> DirtyBitmap | None:
    """The node's bitmap with that name."""
    return s.node.bitmaps.named(name)


def serialized_clusters(s: Qcow2State, size: int, granularity: int) -> int:
    """Clusters of a stored bitmap; its bits are padded to 64."""
    padded = (bytes_needed(size, granularity) + 7) & ~7
    return s.geometry.clusters(padded)

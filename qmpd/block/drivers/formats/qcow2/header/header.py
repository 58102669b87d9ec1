"""The image header: decoding with the checks of qcow2_do_open, and encoding.

Pure: works on the bytes of the first cluster.  Texts are QEMU's.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from qmpd.base.sizes import INT_MAX
from qmpd.block.drivers.formats.qcow2.header import extensions as ext
from qmpd.block.drivers.formats.qcow2.header.fields import FULL_LENGTH, V2_LENGTH, Header
from qmpd.block.drivers.formats.qcow2.header.layout import (
    COMPRESSION_TYPES,
    ENTRY_SIZE,
    INCOMPAT_COMPRESSION,
    INCOMPAT_DATA_FILE,
    INCOMPAT_EXTL2,
    INT64_MAX,
    MAGIC,
    MAX_CLUSTER_BITS,
    MAX_L1_SIZE,
    MAX_REFTABLE_SIZE,
    MAX_SNAPSHOTS,
    MIN_CLUSTER_BITS,
    Geometry,
)
from qmpd.errors import BlockIOError

V2 = struct.Struct(">4sIQIIQIIQQIIQ")
V3 = struct.Struct(">QQQIIB7x")
UINT64_MAX = (1 << 64) - 1
OFFSET_SIZE = 24
OFFSET_L1_SIZE = 36
OFFSET_L1_TABLE = 40
OFFSET_REFCOUNT_TABLE = 48
OFFSET_SNAPSHOTS = 60
OFFSET_INCOMPATIBLE = 72

SNAPSHOT_HEADER_SIZE = 40


def invalid(text: str, number: int = errno.EINVAL) -> BlockIOError:
    """The error of a header that cannot be used."""
    return BlockIOError(number, text)


def decode_header(raw: bytes) -> Header:
    """Read the fixed part of a header, refusing what QEMU refuses first.

    :param raw: the first `FULL_LENGTH` bytes of the file
    :raises BlockIOError: not qcow2, or an invalid version, size or length
    """
    fields = V2.unpack_from(raw)
    if fields[0] != MAGIC:
        raise invalid("Image is not in qcow2 format")
    header = Header(*fields[1:])
    if not 2 <= header.version <= 3:
        raise invalid(f"Unsupported qcow2 version {header.version}", errno.ENOTSUP)
    if not MIN_CLUSTER_BITS <= header.cluster_bits <= MAX_CLUSTER_BITS:
        raise invalid(f"Unsupported cluster size: 2^{header.cluster_bits}")
    if header.version == 2:
        header.header_length = V2_LENGTH
    else:
        (
            header.incompatible,
            header.compatible,
            header.autoclear,
            header.refcount_order,
            header.header_length,
            header.compression_type,
        ) = V3.unpack_from(raw, V2.size)
        if header.header_length < 104:
            raise invalid("qcow2 header too short")
        if header.header_length <= 104:
            header.compression_type = 0
    if header.header_length > 1 << header.cluster_bits:
        raise invalid("qcow2 header exceeds cluster size")
    if header.backing_file_offset > 1 << header.cluster_bits:
        raise invalid("Invalid backing file offset")
    check_compression_type(header)
    return header


def check_compression_type(header: Header) -> None:
    """Check that the compression type is known and matches its feature bit."""
    if header.compression_type >= len(COMPRESSION_TYPES):
        raise invalid(f"qcow2: unknown compression type: {header.compression_type}", errno.ENOTSUP)
    flagged = bool(header.incompatible & INCOMPAT_COMPRESSION)
    if header.compression_type == 0 and flagged:
        raise invalid("qcow2: Compression type incompatible feature bit must not be set")
    if header.compression_type != 0 and not flagged:
        raise invalid("qcow2: Compression type incompatible feature bit must be set")


def unsupported_features(mask: int, table: Sequence[tuple[int, int, bytes]]) -> BlockIOError:
    """The error for unknown incompatible features `mask`.

    :param table: the image's feature name table: (type, bit, name)
    """
    names = []
    for kind, bit, name in table:
        if kind == 0 and mask >> bit & 1:
            names.append(name.decode("utf-8", "replace"))
            mask &= ~(1 << bit)
    if mask:
        names.append(f"Unknown incompatible feature: {mask:x}")
    return invalid(f"Unsupported qcow2 feature(s): {', '.join(names)}", errno.ENOTSUP)


def check_widths(header: Header) -> Geometry:
    """Check subcluster size and refcount width; returns the geometry."""
    extended = bool(header.incompatible & INCOMPAT_EXTL2)
    subcluster_size = (1 << header.cluster_bits) // (32 if extended else 1)
    if subcluster_size < 1 << MIN_CLUSTER_BITS:
        raise invalid(f"Unsupported subcluster size: {subcluster_size}")
    if header.refcount_order > 6:
        raise invalid("Reference count entry width too large; may not exceed 64 bits")
    return header.geometry()


def validate_table(
    geometry: Geometry, offset: int, entries: int, entry_size: int, max_size: int, name: str
) -> None:
    """Check the size and offset of a table (qcow2_validate_table).

    :param max_size: bytes
    :param name: of the table, for the message
    """
    if entries > max_size // entry_size:
        raise invalid(f"{name} too large", errno.EFBIG)
    if INT64_MAX - entries * entry_size < offset or geometry.offset_into_cluster(offset):
        raise invalid(f"{name} offset invalid")


def check_tables(header: Header, geometry: Geometry) -> int:
    """Check sizes and offsets of all tables; returns the number of L1 entries for the disk."""
    if header.refcount_table_clusters == 0:
        raise invalid("Image does not contain a reference count table")
    validate_table(
        geometry,
        header.refcount_table_offset,
        header.refcount_table_clusters,
        geometry.cluster_size,
        MAX_REFTABLE_SIZE,
        "Reference count table",
    )
    validate_table(
        geometry,
        header.snapshots_offset,
        header.nb_snapshots,
        SNAPSHOT_HEADER_SIZE,
        SNAPSHOT_HEADER_SIZE * MAX_SNAPSHOTS,
        "Snapshot table",
    )
    validate_table(
        geometry,
        header.l1_table_offset,
        header.l1_size,
        ENTRY_SIZE,
        MAX_L1_SIZE,
        "Active L1 table",
    )
    needed = l1_entries(geometry, header.size)
    if needed > INT_MAX:
        raise invalid("Image is too big", errno.EFBIG)
    if header.l1_size < needed:
        raise invalid("L1 table is too small")
    return needed


def l1_entries(geometry: Geometry, size: int) -> int:
    """L1 entries for a header's `size`, in 64 bits with overflow (size_to_l1)."""
    return ((size + (1 << geometry.l1_shift) - 1) & UINT64_MAX) >> geometry.l1_shift


def encode_fields(header: Header) -> bytes:
    """The fixed part of the header, without unknown fields."""
    raw = V2.pack(
        MAGIC,
        header.version,
        header.backing_file_offset,
        header.backing_file_size,
        header.cluster_bits,
        header.size,
        header.crypt_method,
        header.l1_size,
        header.l1_table_offset,
        header.refcount_table_offset,
        header.refcount_table_clusters,
        header.nb_snapshots,
        header.snapshots_offset,
    )
    if header.version >= 3:
        raw += V3.pack(
            header.incompatible,
            header.compatible,
            header.autoclear,
            header.refcount_order,
            FULL_LENGTH + len(header.unknown_fields),
            header.compression_type,
        )
    return raw


def encode_header(header: Header) -> bytes:
    """The whole first cluster: fields, extensions, backing file name, zero filled.

    Sets `backing_file_offset` and `backing_file_size` of `header`.

    :raises BlockIOError: ENOSPC, it does not fit into a cluster
    """
    cluster_size = 1 << header.cluster_bits
    parts = [header.unknown_fields]
    if header.backing_format is not None:
        parts.append(ext.encode_extension(ext.BACKING_FORMAT, header.backing_format))
    if header.incompatible & INCOMPAT_DATA_FILE and header.data_file is not None:
        parts.append(ext.encode_extension(ext.DATA_FILE, header.data_file))
    if header.version >= 3 and cluster_size > 4096:
        parts.append(
            ext.encode_extension(ext.FEATURE_TABLE, ext.encode_feature_table(ext.FEATURE_NAMES))
        )
    if header.bitmaps is not None:
        parts.append(ext.encode_extension(ext.BITMAPS, ext.encode_bitmaps(header.bitmaps)))
    parts += [ext.encode_extension(item.magic, item.data) for item in header.unknown_extensions]
    parts.append(ext.encode_extension(ext.END, b""))
    tail = b"".join(parts)
    fixed = FULL_LENGTH if header.version >= 3 else V2_LENGTH
    header.backing_file_offset = header.backing_file_size = 0
    if header.backing_file is not None:
        header.backing_file_offset = fixed + len(tail)
        header.backing_file_size = len(header.backing_file)
        tail += header.backing_file
    if fixed + len(tail) > cluster_size:
        raise BlockIOError(errno.ENOSPC)
    return (encode_fields(header) + tail).ljust(cluster_size, b"\0")

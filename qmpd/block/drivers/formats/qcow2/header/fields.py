"""The contents of a header as data: its fields and extensions (docs/interop/qcow2.rst)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from qmpd.base.newest_first import NewestFirst
from qmpd.block.drivers.formats.qcow2.header.layout import INCOMPAT_EXTL2, Geometry

V2_LENGTH = 72
"""Bytes of the header of a version 2 image."""
FULL_LENGTH = 112
"""Bytes of the header of a version 3 image, without fields that are unknown here."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension as it is in the file."""

    magic: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BitmapsExtension:
    """Where the bitmap directory is: number of bitmaps, size and offset in bytes."""

    nb_bitmaps: int
    directory_size: int
    directory_offset: int


@dataclass(slots=True)
class Header:
    """The fields of a header, as numbers, and the contents of its extensions.

    `size` is the virtual size in bytes; offsets are file offsets in bytes.
    """

    version: int = 3
    backing_file_offset: int = 0
    backing_file_size: int = 0
    cluster_bits: int = 16
    size: int = 0
    crypt_method: int = 0
    l1_size: int = 0
    l1_table_offset: int = 0
    refcount_table_offset: int = 0
    refcount_table_clusters: int = 0
    nb_snapshots: int = 0
    snapshots_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    header_length: int = FULL_LENGTH
    compression_type: int = 0
    unknown_fields: bytes = b""
    backing_file: bytes | None = None
    backing_format: bytes | None = None
    data_file: bytes | None = None
    bitmaps: BitmapsExtension | None = None
    unknown_extensions: NewestFirst[Extension] = field(default_factory=NewestFirst)

    @property
    def extensions_end(self) -> int:
        """Offset at which the extensions must end."""
        return self.backing_file_offset or 1 << self.cluster_bits

    def geometry(self) -> Geometry:
        """The image's geometry."""
        extended_l2 = bool(self.incompatible & INCOMPAT_EXTL2)
        return _geometry(self.cluster_bits, self.refcount_order, extended_l2)


@lru_cache(maxsize=16)
def _geometry(cluster_bits: int, refcount_order: int, extended_l2: bool) -> Geometry:
    return Geometry(cluster_bits, refcount_order, extended_l2)

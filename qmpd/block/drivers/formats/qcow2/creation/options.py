"""The options for creating an image, checked in the order of qcow2_co_create."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from qmpd.base.sizes import SECTOR
from qmpd.block.drivers.formats.qcow2.clusters.compress import zstd_available
from qmpd.block.drivers.formats.qcow2.header.fields import Header
from qmpd.block.drivers.formats.qcow2.header.header import encode_fields
from qmpd.block.drivers.formats.qcow2.header.layout import (
    AUTOCLEAR_DATA_FILE_RAW,
    COMPAT_LAZY_REFCOUNTS,
    COMPRESSION_TYPES,
    DEFAULT_CLUSTER_SIZE,
    INCOMPAT_COMPRESSION,
    INCOMPAT_DATA_FILE,
    INCOMPAT_EXTL2,
    MAX_CLUSTER_BITS,
    MIN_CLUSTER_BITS,
    SUBCLUSTERS_PER_CLUSTER,
)
from qmpd.errors import BlockIOError, NotServed

NEEDS_V3 = "compatibility level 1.1 and above (use version=v3 or greater)"


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """The options of BlockdevCreateOptionsQcow2 with defaults filled in.

    :param size: virtual size in bytes
    :param compression_type: number as in the header
    """

    size: int
    version: int = 3
    cluster_size: int = DEFAULT_CLUSTER_SIZE
    preallocation: str = "off"
    lazy_refcounts: bool = False
    refcount_bits: int = 16
    extended_l2: bool = False
    backing_file: str | None = None
    backing_format: str | None = None
    has_data_file: bool = False
    data_file_raw: bool = False
    compression_type: int = 0

    def header(self) -> Header:
        """The header of the empty image, with a refcount table and no L1 table."""
        header = Header(
            version=self.version,
            cluster_bits=self.cluster_size.bit_length() - 1,
            refcount_table_offset=self.cluster_size,
            refcount_table_clusters=1,
            refcount_order=self.refcount_bits.bit_length() - 1,
            compression_type=self.compression_type,
        )
        header.compatible = COMPAT_LAZY_REFCOUNTS if self.lazy_refcounts else 0
        header.autoclear = AUTOCLEAR_DATA_FILE_RAW if self.data_file_raw else 0
        header.incompatible = (
            (INCOMPAT_DATA_FILE if self.has_data_file else 0)
            | (INCOMPAT_COMPRESSION if self.compression_type else 0)
            | (INCOMPAT_EXTL2 if self.extended_l2 else 0)
        )
        return header

    def first_clusters(self) -> list[bytes]:
        """The first two writes: the header; the refcount table with an empty block."""
        size = self.cluster_size
        return [encode_fields(self.header()).ljust(size, b"\0"), _first_table(size)]


@lru_cache(maxsize=1)
def _first_table(size: int) -> bytes:
    """The refcount table of an empty image, and its empty block; most images have the same."""
    return (2 * size).to_bytes(8, "big").ljust(2 * size, b"\0")


def refuse(text: str) -> BlockIOError:
    """The error for an invalid option."""
    return BlockIOError(errno.EINVAL, text)


def check_cluster_size(cluster_size: int, *, extended_l2: bool) -> None:
    """Check the cluster size (validate_cluster_size)."""
    low, high = 1 << MIN_CLUSTER_BITS, 1 << MAX_CLUSTER_BITS
    if not low <= cluster_size <= high or cluster_size & (cluster_size - 1):
        raise refuse(f"Cluster size must be a power of two between {low} and {high >> 10}k")
    least = low * SUBCLUSTERS_PER_CLUSTER
    if extended_l2 and cluster_size < least:
        raise refuse(
            f"Extended L2 entries are only supported with cluster sizes of at least {least} bytes"
        )


def check_create_options(
    options: Mapping[str, Any], *, preallocates_raw: bool = True
) -> CreateOptions:
    """Check BlockdevCreateOptionsQcow2 (JSON values) and fill in the defaults.

    :param preallocates_raw: the metadata of an image with a raw data file are preallocated
    :raises BlockIOError: an option is invalid; with QEMU's text
    :raises NotServed: encryption
    """
    size = options["size"]
    if size % SECTOR:
        raise refuse(f"Image size must be a multiple of {SECTOR} bytes")
    version = 2 if options.get("version") == "v2" else 3
    extended = bool(options.get("extended-l2", False))
    if extended and version < 3:
        raise refuse(f"Extended L2 entries are only supported with {NEEDS_V3}")
    cluster_size = options.get("cluster-size", DEFAULT_CLUSTER_SIZE)
    check_cluster_size(cluster_size, extended_l2=extended)
    preallocation = options.get("preallocation", "off")
    backing_file = options.get("backing-file")
    if backing_file is not None and preallocation != "off" and not extended:
        raise refuse(
            "Backing file and preallocation can only be used at the same time if extended_l2 is on"
        )
    if options.get("backing-fmt") is not None and backing_file is None:
        raise refuse("Backing format cannot be used without backing file")
    lazy = bool(options.get("lazy-refcounts", False))
    if lazy and version < 3:
        raise refuse(f"Lazy refcounts only supported with {NEEDS_V3}")
    refcount_bits = options.get("refcount-bits", 16)
    _check_refcount_bits(refcount_bits, version)
    has_data_file = options.get("data-file") is not None
    raw = bool(options.get("data-file-raw", False))
    _check_data_file(version, backing_file, has_data_file=has_data_file, raw=raw)
    if raw and preallocation == "off" and preallocates_raw:
        preallocation = "metadata"
    if options.get("encrypt") is not None:
        raise NotServed("qmpd does not create encrypted qcow2 images")
    return CreateOptions(
        size=size,
        version=version,
        cluster_size=cluster_size,
        preallocation=preallocation,
        lazy_refcounts=lazy,
        refcount_bits=refcount_bits,
        extended_l2=extended,
        backing_file=backing_file,
        backing_format=options.get("backing-fmt"),
        has_data_file=has_data_file,
        data_file_raw=raw,
        compression_type=_check_compression(options.get("compression-type", "zlib"), version),
    )


def _check_refcount_bits(bits: int, version: int) -> None:
    if not 0 < bits <= 64 or bits & (bits - 1):
        raise refuse("Refcount width must be a power of two and may not exceed 64 bits")
    if version < 3 and bits != 16:
        raise refuse(
            "Different refcount widths than 16 bits require compatibility level 1.1 or above"
            " (use version=v3 or greater)"
        )


def _check_data_file(version: int, backing: str | None, *, has_data_file: bool, raw: bool) -> None:
    """Check the options of an external data file."""
    if raw and not has_data_file:
        raise refuse("data-file-raw requires data-file")
    if raw and backing is not None:
        raise refuse("Backing file and data-file-raw cannot be used at the same time")
    if has_data_file and version < 3:
        raise refuse(f"External data files are only supported with {NEEDS_V3}")


def _check_compression(name: str, version: int) -> int:
    number = COMPRESSION_TYPES.index(name)
    if number and version < 3:
        raise refuse(f"Non-zlib compression type is only supported with {NEEDS_V3}")
    if name == "zstd" and not zstd_available():
        raise refuse("Unknown compression type")
    return number

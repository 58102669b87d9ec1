"""The runtime options of a qcow2 node, and their checks (qcow2_update_options_prepare)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, NamedTuple

from qmpd.base.sizes import INT_MAX, as_int
from qmpd.block.drivers.formats.qcow2.header.fields import Header
from qmpd.block.drivers.formats.qcow2.header.layout import (
    COMPAT_LAZY_REFCOUNTS,
    MIN_CLUSTER_BITS,
    Geometry,
)
from qmpd.errors import BlockIOError

MIN_L2_TABLES = 2
MIN_REFCOUNT_TABLES = 4
DEFAULT_L2_CACHE_MAX = 32 << 20
MAX_CLEAN_INTERVAL = (1 << 32) - 1
SIZE_OPTIONS = ("cache-size", "l2-cache-size", "l2-cache-entry-size", "refcount-cache-size")

AES = 1
CRYPT_NAMES = {AES: "aes", 2: "luks"}
"""Encryption methods of the header, as the `encrypt.format` option names them."""

# Kinds of metadata that `overlap-check` protects (QEMU's QCow2MetadataOverlap).
MAIN_HEADER = 1 << 0
ACTIVE_L1 = 1 << 1
ACTIVE_L2 = 1 << 2
REFCOUNT_TABLE = 1 << 3
REFCOUNT_BLOCK = 1 << 4
SNAPSHOT_TABLE = 1 << 5
INACTIVE_L1 = 1 << 6
INACTIVE_L2 = 1 << 7
BITMAP_DIRECTORY = 1 << 8

CONSTANT = MAIN_HEADER | ACTIVE_L1 | REFCOUNT_TABLE | SNAPSHOT_TABLE | BITMAP_DIRECTORY
CACHED = CONSTANT | ACTIVE_L2 | REFCOUNT_BLOCK | INACTIVE_L1
ALL_METADATA = CACHED | INACTIVE_L2

OVERLAP_TEMPLATES = {"none": 0, "constant": CONSTANT, "cached": CACHED, "all": ALL_METADATA}
"""Checks of each template of the `overlap-check` option."""

OVERLAP_OPTIONS = {
    "main-header": MAIN_HEADER,
    "active-l1": ACTIVE_L1,
    "active-l2": ACTIVE_L2,
    "refcount-table": REFCOUNT_TABLE,
    "refcount-block": REFCOUNT_BLOCK,
    "snapshot-table": SNAPSHOT_TABLE,
    "inactive-l1": INACTIVE_L1,
    "inactive-l2": INACTIVE_L2,
    "bitmap-directory": BITMAP_DIRECTORY,
}
"""Members of `overlap-check` that switch one check each."""


class RuntimeOptions(NamedTuple):
    """The effective runtime options.

    :param l2_tables: capacity of the L2 cache, in slices
    :param l2_slice_bytes: size of an L2 slice, the unit that is cached
    :param refcount_tables: capacity of the refcount block cache, in blocks
    :param overlap_check: kinds of metadata that writes are checked against, `MAIN_HEADER` etc.
    :param discard_passthrough: by `refcounts.Discard`, whether freed clusters are discarded
    """

    l2_tables: int
    l2_slice_bytes: int
    refcount_tables: int
    lazy_refcounts: bool
    overlap_check: int
    discard_passthrough: tuple[bool, bool, bool, bool, bool]
    discard_no_unref: bool


def refuse(text: str) -> BlockIOError:
    """The error for an invalid option."""
    return BlockIOError(errno.EINVAL, text)


def read_options(
    options: Mapping[str, Any], header: Header, geometry: Geometry, size: int, *, unmap: bool
) -> RuntimeOptions:
    """Check the options in the order of qcow2_update_options_prepare.

    :param options: the driver's own, JSON values as BlockdevOptionsQcow2 has them
    :param size: virtual size in bytes
    :param unmap: whether the node was opened with discard=unmap
    :raises BlockIOError: an option is invalid, or contradicts another or the image
    """
    for name in SIZE_OPTIONS:
        if options.get(name, 0) < 0:
            raise refuse(f"Value '{options[name]}' is out of range for parameter '{name}'")
    l2_bytes, slice_bytes, refcount_bytes = _cache_sizes(options, geometry, size)
    l2_tables = max(l2_bytes // slice_bytes, MIN_L2_TABLES)
    if l2_tables > INT_MAX:
        raise refuse("L2 cache size too big")
    refcount_tables = max(refcount_bytes // geometry.cluster_size, MIN_REFCOUNT_TABLES)
    if refcount_tables > INT_MAX:
        raise refuse("Refcount cache size too big")
    # Unused tables leave the cache by its size alone: when they do is not visible.
    if not 0 <= options.get("cache-clean-interval", 0) <= MAX_CLEAN_INTERVAL:
        raise refuse("Cache clean interval too big")
    lazy = options.get("lazy-refcounts", bool(header.compatible & COMPAT_LAZY_REFCOUNTS))
    if lazy and header.version < 3:
        raise refuse(
            "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level"
        )
    checks = _overlap_check(options.get("overlap-check"))
    no_unref = bool(options.get("discard-no-unref", False))
    if no_unref and header.version < 3:
        raise refuse("discard-no-unref is only supported since qcow2 version 3")
    _check_encryption(options, header)
    return RuntimeOptions(
        l2_tables=l2_tables,
        l2_slice_bytes=slice_bytes,
        refcount_tables=refcount_tables,
        lazy_refcounts=bool(lazy),
        overlap_check=checks,
        discard_passthrough=(
            False,
            True,
            bool(options.get("pass-discard-request", unmap)),
            bool(options.get("pass-discard-snapshot", True)),
            bool(options.get("pass-discard-other", False)),
        ),
        discard_no_unref=no_unref,
    )


def _cache_sizes(options: Mapping[str, Any], geometry: Geometry, size: int) -> tuple[int, int, int]:
    """Bytes of the L2 cache, of a slice in it, and of the refcount block cache."""
    cluster = geometry.cluster_size
    needed = geometry.round_up(geometry.clusters(size) * geometry.l2_entry_size)
    combined = options.get("cache-size")
    l2_setting = options.get("l2-cache-size", DEFAULT_L2_CACHE_MAX)
    refcount = options.get("refcount-cache-size", 0)
    l2 = min(needed, l2_setting)
    if combined is not None:
        l2_set = "l2-cache-size" in options
        refcount_set = "refcount-cache-size" in options
        if l2_set and refcount_set:
            raise refuse(
                "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time"
            )
        if l2_set and l2_setting > combined:
            raise refuse("l2-cache-size may not exceed cache-size")
        if refcount > combined:
            raise refuse("refcount-cache-size may not exceed cache-size")
        least = MIN_REFCOUNT_TABLES * cluster
        if l2_set:
            refcount = combined - l2
        elif refcount_set:
            l2 = combined - refcount
        elif combined >= needed + least:
            l2 = needed
            refcount = combined - l2
        else:
            refcount = min(combined, least)
            l2 = combined - refcount
    slice_bytes = options.get("l2-cache-entry-size")
    if slice_bytes is None:
        slice_bytes = min(cluster, 4096) if l2 < needed else cluster
    if not 1 << MIN_CLUSTER_BITS <= slice_bytes <= cluster or slice_bytes & (slice_bytes - 1):
        raise refuse(
            f"L2 cache entry size must be a power of two between {1 << MIN_CLUSTER_BITS}"
            f" and the cluster size ({cluster})"
        )
    return l2, slice_bytes, refcount


def _overlap_check(option: str | Mapping[str, Any] | None) -> int:
    """The checks to do, from a template name or a Qcow2OverlapCheckFlags object."""
    if option is None or isinstance(option, str):
        return OVERLAP_TEMPLATES[option or "cached"]
    checks = OVERLAP_TEMPLATES[option.get("template", "cached")]
    for name, bit in OVERLAP_OPTIONS.items():
        if name in option:
            checks = checks | bit if option[name] else checks & ~bit
    return checks


def _check_encryption(options: Mapping[str, Any], header: Header) -> None:
    """Refuse encrypted images, and `encrypt` for any other image."""
    encrypt = options.get("encrypt")
    wanted = None if encrypt is None else encrypt.get("format")
    if not header.crypt_method:
        if wanted is not None:
            raise refuse(f"No encryption in image header, but options specified format '{wanted}'")
        return
    name = CRYPT_NAMES.get(header.crypt_method)
    if name is None:
        raise refuse(f"Unsupported encryption method {as_int(header.crypt_method)}")
    if wanted is not None and wanted != name:
        raise refuse(f"Header reported '{name}' encryption format but options specify '{wanted}'")
    if encrypt is None or "key-secret" not in encrypt:
        raise refuse("Parameter 'encrypt.key-secret' is required for cipher")
    raise BlockIOError(
        errno.ENOTSUP, f"Encrypted qcow2 images (format '{name}') are not supported by qmpd"
    )

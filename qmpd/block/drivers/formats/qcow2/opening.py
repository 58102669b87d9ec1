"""Opening an image: checks and reads in the order of qcow2_do_open."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.opening import open_child
from qmpd.block.drivers.formats.qcow2.bitmaps.load import load_bitmaps
from qmpd.block.drivers.formats.qcow2.clusters.compress import zstd_available
from qmpd.block.drivers.formats.qcow2.header.extensions import read_extensions, read_feature_table
from qmpd.block.drivers.formats.qcow2.header.fields import FULL_LENGTH, Header
from qmpd.block.drivers.formats.qcow2.header.header import (
    check_tables,
    check_widths,
    decode_header,
    unsupported_features,
)
from qmpd.block.drivers.formats.qcow2.header.layout import (
    AUTOCLEAR_MASK,
    ENTRY_SIZE,
    INCOMPAT_CORRUPT,
    INCOMPAT_DATA_FILE,
    INCOMPAT_DIRTY,
    INCOMPAT_MASK,
    MAX_BACKING_NAME,
    MAX_LENGTH,
    Geometry,
)
from qmpd.block.drivers.formats.qcow2.options import (
    ACTIVE_L2,
    AES,
    REFCOUNT_BLOCK,
    RuntimeOptions,
    read_options,
)
from qmpd.block.drivers.formats.qcow2.refcounts.codec import decode_refcounts, encode_refcounts
from qmpd.block.drivers.formats.qcow2.refcounts.counts import refcount_init
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import check_table_write, corruption
from qmpd.block.drivers.formats.qcow2.repair.check import repair_dirty
from qmpd.block.drivers.formats.qcow2.snapshots.table import read_snapshots
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.drivers.formats.qcow2.tables.cache import TableCache, decode_entries, encode_entries
from qmpd.block.drivers.formats.qcow2.tables.long import decode_long
from qmpd.block.model.flat_options import ChildOptions, FlatOptions
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

log = logging.getLogger("qmpd.block.qcow2")


async def open_image(
    node: Node, options: Mapping[str, Any], *, unmap: bool, load: bool = True
) -> Qcow2State:
    """Open the image in the node's `file` child.

    :param options: the driver's own options
    :param unmap: whether discards are passed down (discard=unmap)
    :param load: whether to load bitmaps (not for a node that is inactive)
    :raises QmpError: with QEMU's text
    """
    s: Qcow2State | None = None
    try:
        s, cluster = await _read_image(node, options, unmap=unmap)
        await _read_rest(s, options, cluster)
        await _make_writable(s, load=load)
    except BaseException:
        if s is None or not s.knows_data_file or s.has_data_file:
            # The image's data file, which may not be known yet, goes (bdrv_co_unref_child).
            async with write_lock(node.graph):
                pass
        raise
    return s


async def _read_image(
    node: Node, options: Mapping[str, Any], *, unmap: bool
) -> tuple[Qcow2State, bytes]:
    """Read the header, whose whole cluster is returned, too, and the L1 table."""
    file = node.children["file"].node
    raw = await _read(file, 0, FULL_LENGTH, "Could not read qcow2 header")
    header = decode_header(raw)
    cluster = await _read(file, 0, 1 << header.cluster_bits, "Could not read qcow2 header")
    header.unknown_fields = cluster[FULL_LENGTH : header.header_length]
    _check_features(node, header, cluster)
    geometry = check_widths(header)
    if header.crypt_method == AES and node.graph.refuses_aes:
        raise BlockIOError(errno.ENOSYS, _NO_AES).hinted(_NO_AES_HINT)
    needed = check_tables(header, geometry)
    s = Qcow2State(node, header, geometry)
    s.l1_vm_state_index = needed
    l1 = await _read(
        file, header.l1_table_offset, header.l1_size * ENTRY_SIZE, "Could not read L1 table"
    )
    s.set_l1(await decode_long(s, l1))
    set_options(s, read_options(options, header, geometry, s.size, unmap=unmap))
    return s, cluster


async def _make_writable(s: Qcow2State, *, load: bool) -> None:
    """Load the bitmaps, and repair the image if it was not closed cleanly."""
    header = s.header
    update = bool(header.autoclear & ~AUTOCLEAR_MASK) or s.bitmaps_void
    update = update and s.writable
    if update:
        header.autoclear &= AUTOCLEAR_MASK
    if load:
        update = not await load_bitmaps(s) and update
    if update:
        try:
            await s.update_header()
        except BlockIOError as error:
            raise error.prefixed("Could not update qcow2 header: ") from error
    if s.writable and header.incompatible & INCOMPAT_DIRTY:
        await repair_dirty(s)
    if s.size > MAX_LENGTH:
        raise BlockIOError(errno.EFBIG, "Could not refresh total sector count: File too large")


_VOID: Final = (
    "warning: a program lacking bitmap support modified this file, so all bitmaps are now"
    " considered inconsistent"
)
_VOID_IN_2: Final = (
    "warning: This qcow2 v2 image contains bitmaps, but they may have been modified by a program"
    " without persistent bitmap support; so now they must all be considered inconsistent"
)
_LEAKED: Final = "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix."
"""Ends without a line end, in QEMU, too."""

_NO_AES: Final = "Use of AES-CBC encrypted qcow2 images is no longer supported in system emulators"
_NO_AES_HINT: Final = (
    "You can use 'qemu-img convert' to convert your image to an alternative supported format,"
    " such as unencrypted qcow2, or raw with the LUKS format instead."
)


async def _read(file: Node, offset: int, length: int, what: str) -> bytes:
    try:
        return bytes(await file.pread(offset, length))
    except BlockIOError as error:
        raise error.prefixed(f"{what}: ") from error


def _check_features(node: Node, header: Header, cluster: bytes) -> None:
    unknown = header.incompatible & ~INCOMPAT_MASK
    if unknown:
        with suppress(BlockIOError):
            # All extensions are looked at for the names, and told of.
            read_extensions(copy(header), cluster, partial(_tell_void, node, header))
        table = read_feature_table(cluster, header.header_length, header.extensions_end)
        raise unsupported_features(unknown, table)
    if header.compression_type == 1 and not zstd_available():
        raise BlockIOError(
            errno.ENOTSUP, "qcow2: zstd compression needs the Python package zstandard"
        )
    if header.incompatible & INCOMPAT_CORRUPT and not node.read_only:
        raise BlockIOError(errno.EACCES, "qcow2: Image is corrupt; cannot be opened read/write")


def _tell_void(node: Node, header: Header) -> None:
    log.warning(_VOID if header.version >= 3 else _VOID_IN_2)
    node.services.say.complain(_LEAKED)


async def _read_rest(s: Qcow2State, options: Mapping[str, Any], cluster: bytes) -> None:
    """Read the refcount table, extensions, data file, backing file name and snapshots."""
    header, node = s.header, s.node
    try:
        await refcount_init(s)
    except BlockIOError as error:
        raise error.prefixed("Could not initialize refcount handling: ") from error
    s.bitmaps_void = read_extensions(header, cluster, partial(_tell_void, node, header))
    await open_data_file(s, options.get("data-file"))
    s.knows_data_file = True
    if header.backing_file_offset:
        length = header.backing_file_size
        room = s.geometry.cluster_size - header.backing_file_offset
        if length > min(MAX_BACKING_NAME, room):
            raise BlockIOError(errno.EINVAL, "Backing file name too long")
        name = cluster[header.backing_file_offset : header.backing_file_offset + length]
        header.backing_file = name.split(b"\0", 1)[0]
    await read_snapshots(s)


async def open_data_file(
    s: Qcow2State, reference: str | Mapping[str, Any] | ChildOptions | None
) -> None:
    """Open the `data-file` child, named by option or header.

    :raises QmpError: the image needs a data file and none is given, or the reverse
    """
    header = s.header
    if "data-file" in s.node.children:
        s.use_data_file()
        return
    if reference is not None:
        await open_child(s.node, "data-file", reference)
    if header.incompatible & INCOMPAT_DATA_FILE:
        if reference is None:
            if header.data_file is None:
                raise BlockIOError(errno.EINVAL, "'data-file' is required for this image")
            name = header.data_file.decode("utf-8", "surrogateescape")
            child = ChildOptions("data-file", None, name, FlatOptions(), False)
            await open_child(s.node, "data-file", child)
        s.use_data_file()
        return
    if reference is not None:
        raise BlockIOError(
            errno.EINVAL, "'data-file' can only be set for images with an external data file"
        )
    if s.data_file_raw:
        raise BlockIOError(errno.EINVAL, "data-file-raw requires a data file")


def set_options(s: Qcow2State, options: RuntimeOptions) -> None:
    """Take over runtime options; the caches are empty afterwards (qcow2_update_options_commit)."""
    geometry: Geometry = s.geometry
    order = geometry.refcount_order

    async def check_l2(offset: int, length: int) -> None:
        await check_table_write(s, ACTIVE_L2, offset, length)

    async def check_refcount_block(offset: int, length: int) -> None:
        await check_table_write(s, REFCOUNT_BLOCK, offset, length)

    async def corrupted(message: str) -> BlockIOError:
        return await corruption(s, message)

    s.options = options
    s.l2_slice_size = options.l2_slice_bytes // geometry.l2_entry_size
    s.l2_cache = TableCache(
        lambda: s.file,
        name="L2 table",
        capacity=options.l2_tables,
        table_size=options.l2_slice_bytes,
        decode=decode_entries,
        encode=encode_entries,
        before_write=check_l2,
        corrupted=corrupted,
        event=s.event,
        load_event="l2_load",
        write_event="l2_update",
    )
    s.refcount_cache = TableCache(
        lambda: s.file,
        name="refcount block",
        capacity=options.refcount_tables,
        table_size=geometry.cluster_size,
        decode=lambda raw: decode_refcounts(raw, order),
        encode=lambda counts: encode_refcounts(counts, order),
        before_write=check_refcount_block,
        corrupted=corrupted,
        event=s.event,
        load_event=None,
        write_event="refblock_update_part",
    )


async def update_options(s: Qcow2State, options: Mapping[str, Any], *, unmap: bool) -> None:
    """Change the runtime options of an open image after writing the caches back.

    :raises BlockIOError: an option is invalid, or writing failed
    """
    new = read_options(options, s.header, s.geometry, s.size, unmap=unmap)
    for cache, what in ((s.l2_cache, "L2 table"), (s.refcount_cache, "refcount block")):
        try:
            await cache.flush()
        except BlockIOError as error:
            raise error.prefixed(f"Failed to flush the {what} cache: ") from error
    if s.options.lazy_refcounts and not new.lazy_refcounts:
        try:
            await s.mark_clean()
        except BlockIOError as error:
            raise error.prefixed("Failed to disable lazy refcounts: ") from error
    set_options(s, new)

"""Header extensions: decoding with the checks of qcow2_read_extensions, and encoding."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator

from qmpd.block.drivers.formats.qcow2.header.fields import BitmapsExtension, Extension, Header
from qmpd.block.drivers.formats.qcow2.header.layout import (
    AUTOCLEAR_BITMAPS,
    MAX_BITMAP_DIRECTORY_SIZE,
    MAX_BITMAPS,
)
from qmpd.errors import BlockIOError

END = 0
BACKING_FORMAT = 0xE2792ACA
FEATURE_TABLE = 0x6803F857
CRYPTO_HEADER = 0x0537BE77
BITMAPS = 0x23852875
DATA_FILE = 0x44415441

BACKING_FORMAT_LIMIT = 16
"""QEMU's buffer for the name of the backing format, terminator included."""

_HEAD = struct.Struct(">II")
_BITMAPS = struct.Struct(">IIQQ")
_FEATURE = struct.Struct(">BB46s")

FEATURE_NAMES: tuple[tuple[int, int, bytes], ...] = (
    (0, 0, b"dirty bit"),
    (0, 1, b"corrupt bit"),
    (0, 2, b"external data file"),
    (0, 3, b"compression type"),
    (0, 4, b"extended L2 entries"),
    (1, 0, b"lazy refcounts"),
    (2, 0, b"bitmaps"),
    (2, 1, b"raw external data"),
)
"""The feature name table that is written: type (incompatible, compatible, autoclear), bit, name."""


def walk_extensions(cluster: bytes, start: int, end: int) -> Iterator[Extension]:
    """The extensions between `start` and `end` of the first cluster, END not included.

    :raises BlockIOError: one reaches beyond `end`
    """
    offset = start
    while offset < end:
        magic, length = _HEAD.unpack_from(cluster.ljust(offset + _HEAD.size, b"\0"), offset)
        offset += _HEAD.size
        if offset > end or length > end - offset:
            raise BlockIOError(errno.EINVAL, "Header extension too large")
        if magic == END:
            return
        yield Extension(magic, cluster[offset : offset + length])
        offset += (length + 7) & ~7


def read_feature_table(cluster: bytes, start: int, end: int) -> list[tuple[int, int, bytes]]:
    """The feature names of the image (type, bit, name), as far as they can be read."""
    names: list[tuple[int, int, bytes]] = []
    try:
        for extension in walk_extensions(cluster, start, end):
            if extension.magic == FEATURE_TABLE:
                names = decode_feature_table(extension.data)
    except BlockIOError:
        pass
    return names


def decode_feature_table(data: bytes) -> list[tuple[int, int, bytes]]:
    """Feature names up to the first empty one."""
    padded = data + bytes(2 * _FEATURE.size)
    names = []
    for offset in range(0, len(data) + _FEATURE.size, _FEATURE.size):
        kind, bit, name = _FEATURE.unpack_from(padded, offset)
        if name[:1] == b"\0":
            break
        names.append((kind, bit & 63, name.split(b"\0", 1)[0]))
    return names


def read_extensions(header: Header, cluster: bytes, void: Callable[[], None]) -> bool:
    """Fill `header` from its extensions.

    :param void: called where there are bitmaps that are not valid, whatever comes after them
    :returns: whether the header must be rewritten, to drop bitmaps that are not valid
    :raises BlockIOError: an invalid extension, with QEMU's text
    """
    rewrite = False
    for extension in walk_extensions(cluster, header.header_length, header.extensions_end):
        data = extension.data
        if extension.magic == BACKING_FORMAT:
            if len(data) >= BACKING_FORMAT_LIMIT:
                raise BlockIOError(
                    errno.EINVAL,
                    f"ERROR: ext_backing_format: len={len(data)} too large"
                    f" (>={BACKING_FORMAT_LIMIT})",
                )
            header.backing_format = data.split(b"\0", 1)[0]
        elif extension.magic == FEATURE_TABLE:
            continue
        elif extension.magic == CRYPTO_HEADER:
            if header.crypt_method != 2:
                raise BlockIOError(
                    errno.EINVAL,
                    "CRYPTO header extension only expected with LUKS encryption method",
                )
        elif extension.magic == BITMAPS:
            if not _read_bitmaps(header, data):
                void()
                rewrite = True
        elif extension.magic == DATA_FILE:
            header.data_file = data.split(b"\0", 1)[0]
        else:
            header.unknown_extensions.add(extension)
    return rewrite


def _read_bitmaps(header: Header, data: bytes) -> bool:
    """Read the bitmaps extension; returns whether it is valid."""
    if len(data) != _BITMAPS.size:
        raise BlockIOError(errno.EINVAL, "bitmaps_ext: Invalid extension length")
    if not header.autoclear & AUTOCLEAR_BITMAPS:
        return False
    count, reserved, size, offset = _BITMAPS.unpack(data)
    if reserved:
        raise BlockIOError(errno.EINVAL, "bitmaps_ext: Reserved field is not zero")
    if count > MAX_BITMAPS:
        raise BlockIOError(
            errno.EINVAL,
            f"bitmaps_ext: Image has {count} bitmaps, exceeding the QEMU supported"
            f" maximum of {MAX_BITMAPS}",
        )
    if count == 0:
        raise BlockIOError(errno.EINVAL, "found bitmaps extension with zero bitmaps")
    if offset & ((1 << header.cluster_bits) - 1):
        raise BlockIOError(errno.EINVAL, "bitmaps_ext: invalid bitmap directory offset")
    if size > MAX_BITMAP_DIRECTORY_SIZE:
        raise BlockIOError(
            errno.EINVAL,
            f"bitmaps_ext: bitmap directory size ({size}) exceeds the maximum supported"
            f" size ({MAX_BITMAP_DIRECTORY_SIZE})",
        )
    header.bitmaps = BitmapsExtension(count, size, offset)
    return True


def encode_extension(magic: int, data: bytes) -> bytes:
    """An extension with its head, padded to 8 bytes."""
    return _HEAD.pack(magic, len(data)) + data.ljust((len(data) + 7) & ~7, b"\0")


def encode_bitmaps(bitmaps: BitmapsExtension) -> bytes:
    """The contents of the bitmaps extension."""
    return _BITMAPS.pack(bitmaps.nb_bitmaps, 0, bitmaps.directory_size, bitmaps.directory_offset)


def encode_feature_table(names: tuple[tuple[int, int, bytes], ...]) -> bytes:
    """The contents of the feature name table."""
    return b"".join(_FEATURE.pack(kind, bit, name) for kind, bit, name in names)

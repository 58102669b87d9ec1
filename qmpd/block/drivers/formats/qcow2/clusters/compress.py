"""Compressed clusters: raw deflate with a 4 KiB window, or zstd.

zstd comes from the standard library (Python 3.14) or the `zstandard` package; an
image that needs it cannot be opened if neither is available.
"""

from __future__ import annotations

import errno
import importlib
import zlib
from collections.abc import Callable
from typing import Any

from qmpd.errors import BlockIOError

_WINDOW_BITS = -12
Codec = Callable[[bytes, int], bytes]


def _find_zstd() -> tuple[Codec, Codec] | None:
    """(decompress, compress) of the first available zstd library."""
    module: Any
    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        pass
    else:
        return (
            lambda data, size: bytes(module.ZstdDecompressor().decompress(data, size)),
            lambda data, _size: bytes(module.compress(data)),
        )
    try:
        module = importlib.import_module("zstandard")
    except ImportError:
        return None

    def decompress(data: bytes, size: int) -> bytes:
        # The data is followed by whatever fills its last sector.
        reader = module.ZstdDecompressor().stream_reader(data)
        return bytes(reader.read(size))

    return decompress, lambda data, _size: bytes(module.ZstdCompressor().compress(data))


def zstd_available() -> bool:
    """Whether clusters compressed with zstd can be read and written."""
    return _find_zstd() is not None


def decompress(kind: int, data: bytes, cluster_size: int) -> bytes:
    """Decompress a cluster.

    :param kind: compression type of the header: 0 deflate, 1 zstd
    :raises BlockIOError: EIO, the result is not a whole cluster
    """
    try:
        if kind == 0:
            cluster = zlib.decompressobj(_WINDOW_BITS).decompress(data, cluster_size)
        else:
            codec = _find_zstd()
            if codec is None:
                raise BlockIOError(errno.ENOTSUP)
            cluster = codec[0](data, cluster_size)
    except BlockIOError:
        raise
    except Exception as error:
        raise BlockIOError(errno.EIO) from error
    if len(cluster) != cluster_size:
        raise BlockIOError(errno.EIO)
    return cluster


def compress(kind: int, cluster: bytes) -> bytes | None:
    """Compress `cluster`; None if that does not make it smaller."""
    if kind == 0:
        # Level and memory as zlib's defaults: any reader takes any of them.
        packer = zlib.compressobj(-1, zlib.DEFLATED, _WINDOW_BITS, 9)
        data = packer.compress(cluster) + packer.flush()
    else:
        codec = _find_zstd()
        if codec is None:
            raise BlockIOError(errno.ENOTSUP)
        data = codec[1](cluster, len(cluster))
    return data if len(data) < len(cluster) else None

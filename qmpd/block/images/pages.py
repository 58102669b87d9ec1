"""Pages of files in memory: `bytes` of one length, never changed.

A page that is full of one byte is the same object wherever it occurs.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

PAGE: Final = 4096
"""Bytes in a page: what is allocated, and told apart from holes."""

ZEROES: Final = bytes(PAGE)
"""The page of zeroes."""

_ONE: Final = struct.Struct(f"{PAGE}s")
_TOGETHER: Final = 256
"""Pages that are cut in one go, at most."""


@cache
def _several(count: int) -> struct.Struct:
    return struct.Struct(f"{PAGE}s" * count)


@cache
def _filled(byte: int) -> bytes:
    """The one page that is full of `byte`."""
    return bytes([byte]) * PAGE if byte else ZEROES


def shared(page: bytes) -> bytes:
    """The page, or the one that is full of the same byte."""
    if page[0] == page[-1] and page == (filled := _filled(page[0])):
        return filled
    return page


def cut(data: bytes | memoryview) -> list[bytes]:
    """Whole pages of `data`."""
    count = len(data) // PAGE
    if count <= _TOGETHER:
        pages = _several(count).unpack(data)
        return [page if page[0] != page[-1] else shared(page) for page in pages]
    return [shared(page) for (page,) in _ONE.iter_unpack(data)]

"""The host's page cache: which part of a file is in it.  The standard library cannot tell."""

from __future__ import annotations

import mmap
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ctypes

_WINDOW: Final = 128 << 20
_PROT_NONE: Final = 0


@cache
def _libc() -> tuple[Any, ctypes.CDLL]:
    """ctypes and the C library, which are not imported before they are needed."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_int64,
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    return ctypes, libc


def is_cached(fd: int) -> bool:
    """Whether any page of a file is in the page cache.

    :raises OSError: the host does not tell
    """
    length = os.fstat(fd).st_size
    return any(
        _window_is_cached(fd, offset, min(_WINDOW, length - offset))
        for offset in range(0, length, _WINDOW)
    )


def _window_is_cached(fd: int, offset: int, length: int) -> bool:
    types, libc = _libc()
    start = libc.mmap(None, length, _PROT_NONE, mmap.MAP_PRIVATE, fd, offset)
    if start == types.c_void_p(-1).value:
        raise OSError(types.get_errno(), "mmap failed")
    try:
        pages = types.create_string_buffer(-(-length // mmap.PAGESIZE))
        if libc.mincore(start, length, pages):
            raise OSError(types.get_errno(), "mincore failed")
        return any(page & 1 for page in pages.raw)
    finally:
        libc.munmap(start, length)

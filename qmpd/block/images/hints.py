"""Hints to the file system about a new file; file systems may ignore them."""

from __future__ import annotations

import fcntl
import struct
from contextlib import suppress
from typing import Final

_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_NOCOW: Final = 0x00800000

_XATTR: Final = struct.Struct("=IIIII8x")
"""xflags, extsize, nextents, projid, cowextsize."""
_GET_XATTR: Final = 0x801C581F
_SET_XATTR: Final = 0x401C5820
_EXTSIZE: Final = 0x00000800


def set_nocow(fd: int) -> None:
    """Disable copy on write for the file, on file systems that have it (FS_NOCOW_FL)."""
    with suppress(OSError):
        flags = bytearray(8)
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        value = int.from_bytes(flags[:4], "little") | _NOCOW
        fcntl.ioctl(fd, _SET_FLAGS, value.to_bytes(8, "little"))


def set_extent_size(fd: int, size: int) -> None:
    """Set the extent size of the file to `size` bytes (FS_IOC_FSSETXATTR)."""
    with suppress(OSError):
        attributes = bytearray(_XATTR.size)
        fcntl.ioctl(fd, _GET_XATTR, attributes)
        flags, _, extents, project, cow_size = _XATTR.unpack(attributes)
        changed = _XATTR.pack(flags | _EXTSIZE, size, extents, project, cow_size)
        fcntl.ioctl(fd, _SET_XATTR, changed)

"""A part of a file that a vhost-user front-end shares.

The client may do anything to the file, even cut it off, at any moment: to touch the memory behind
its end would kill the process by SIGBUS.  Memory is mapped only if that cannot happen, because the
file is sealed against it (QEMU's ``memory-backend-memfd`` does that) or is a device; any other file
is read and written by system calls, which fail.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import sys
from typing import Final

from qmpd.export.vhost_user.protocol import Panic

_WINDOW: Final = 8
"""Bytes that the system copies as a whole, where they are aligned."""


def _map(fd: int, size: int, offset: int) -> tuple[mmap.mmap, int]:
    """Map a file; returns the mapping and the position of `offset` in it."""
    if not size or offset % mmap.PAGESIZE:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    try:
        return mmap.mmap(fd, size, offset=offset), 0
    except OSError as error:
        # large pages want an offset of their own multiple
        if error.errno != errno.EINVAL or not offset:
            raise
    return mmap.mmap(fd, size + offset), offset


def _stays(fd: int) -> bool:
    """Whether what is mapped of a file stays there."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return True
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:
        return False


def _swap(value: int) -> int:
    """Convert a 16-bit number between the byte order of the ring and of the host."""
    if sys.byteorder == "little":
        return value
    return (value & 0xFF) << 8 | value >> 8


class SharedFile:
    """A part of a file, whose bytes are numbered from 0.

    :param fd: the file, which stays the caller's
    :param size: bytes of the part
    :param offset: where it begins in the file
    :raises OSError: it cannot be shared
    :raises ValueError: the file is too short
    :raises OverflowError: the numbers are too large
    """

    def __init__(self, fd: int, size: int, offset: int) -> None:
        mapping, position = _map(fd, size, offset)
        self._map: mmap.mmap | None = None
        self._fd = -1
        if _stays(fd):
            self._map, self._position = mapping, position
            return
        mapping.close()
        if os.fstat(fd).st_blksize > 1 << 20:
            # of large pages, which no system call writes to
            raise OSError(errno.EPERM, "large pages have to be sealed against shrinking")
        self._fd, self._position = os.dup(fd), offset
        self._end = offset + size

    def close(self) -> None:
        """Give it back."""
        if self._map is not None:
            self._map.close()
        elif self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def check(self) -> None:
        """Check that the file is as long as it was.

        :raises Panic: it is not
        """
        if self._map is None and os.fstat(self._fd).st_size < self._end:
            raise Panic("the file of a memory region got shorter")

    def read(self, place: int, size: int) -> bytes:
        """Read bytes.

        :raises Panic: the file got shorter
        """
        place += self._position
        if self._map is not None:
            return self._map[place : place + size]
        try:
            data = os.pread(self._fd, size, place)
            while len(data) < size and (more := os.pread(self._fd, size - len(data), place)):
                data += more
        except OSError as error:
            raise Panic(f"a memory region cannot be read: {error.strerror}") from None
        if len(data) < size:
            raise Panic("the file of a memory region got shorter")
        return data

    def write(self, place: int, data: bytes | memoryview) -> None:
        """Write bytes.

        :raises Panic: the file got shorter
        """
        place += self._position
        if self._map is not None:
            self._map[place : place + len(data)] = data
            return
        try:
            self.check()
            done = os.pwrite(self._fd, data, place)
            while done < len(data):
                done += os.pwrite(self._fd, memoryview(data)[done:], place + done)
        except OSError as error:
            raise Panic(f"a memory region cannot be written: {error.strerror}") from None

    def load16(self, place: int) -> int:
        """Read a number of 16 bits that the driver writes as a whole.

        :raises Panic: the file got shorter
        """
        if self._map is not None:
            place += self._position
            view = memoryview(self._map)
            with view, view[place : place + 2] as part, part.cast("H") as number:
                return _swap(number[0])
        # a system call copies byte by byte: what has been the same twice was not being changed
        seen = self.read(place, 2)
        while (again := self.read(place, 2)) != seen:
            seen = again
        return int.from_bytes(seen, "little")

    def store16(self, place: int, value: int) -> None:
        """Write a number of 16 bits that the driver reads as a whole.

        :raises Panic: the file got shorter
        """
        if self._map is None:
            self.write(place, value.to_bytes(2, "little"))
            return
        place += self._position
        view = memoryview(self._map)
        with view, view[place : place + 2] as part, part.cast("H") as number:
            number[0] = _swap(value)

    def store_index(self, place: int, value: int) -> None:
        """Write the index of a used ring (`place` is that of the ring).

        A driver that saw half of it would be lost, so it is written with its neighbours, which are
        the device's own, where that makes it a whole for the system.

        :raises Panic: the file got shorter
        """
        if self._map is None and not (place + self._position) % _WINDOW:
            around = bytearray(self.read(place, _WINDOW))
            around[2:4] = value.to_bytes(2, "little")
            self.write(place, bytes(around))
        else:
            self.store16(place + 2, value)

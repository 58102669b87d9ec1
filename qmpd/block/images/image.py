"""One open image: plain I/O on a file descriptor."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
from functools import cache
from typing import Any, Final

from qmpd.errors import BlockIOError

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2
_ZERO_RANGE: Final = 16


@cache
def _libc() -> Any:
    library = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return library


class Image:
    """An open image.

    :param fd: an open file description of its own; taken over, closed by `close`
    """

    def __init__(self, fd: int, *, read_only: bool) -> None:
        self.fd = fd
        self.read_only = read_only
        # To look for the end of a long extent again and again is slow; QEMU remembers it, too.
        self._data = range(0)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def length(self) -> int:
        """Length in bytes."""
        return os.fstat(self.fd).st_size

    def allocated(self) -> int:
        """Bytes that are allocated."""
        return os.fstat(self.fd).st_blocks * 512

    def pread(self, offset: int, length: int) -> bytes:
        """Read; zeroes behind the end.

        :raises BlockIOError: the read fails
        """
        try:
            data = os.pread(self.fd, length, offset)
            while len(data) < length:
                more = os.pread(self.fd, length - len(data), offset + len(data))
                if not more:
                    return data + bytes(length - len(data))
                data += more
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO) from None
        return data

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`.

        :raises BlockIOError: the write fails
        """
        try:
            done = os.pwrite(self.fd, data, offset)
            while done < len(data):
                done += os.pwrite(self.fd, memoryview(data)[done:], offset + done)
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO) from None

    def punch(self, offset: int, length: int) -> None:
        """Give the space of an area back; it reads as zeroes afterwards.

        :raises BlockIOError: ENOTSUP where the host cannot
        """
        self._fallocate(_PUNCH_HOLE | _KEEP_SIZE, offset, length)

    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
        """Make an area read as zeroes; the file grows to hold it.

        :param may_unmap: its space may be given back
        :raises BlockIOError: ENOTSUP to have zeroes written
        """
        if offset + length > self.length():
            self.truncate(offset + length)
        if may_unmap:
            self.punch(offset, length)
            return
        try:
            self._fallocate(_ZERO_RANGE, offset, length)
        except BlockIOError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL):
                raise
            self.punch(offset, length)
            self._fallocate(0, offset, length)

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes.

        :raises BlockIOError: with QEMU's text
        """
        self._data = range(0)
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise _resize_error("Could not resize file", error) from None

    def allocate(self, size: int) -> None:
        """Extend to `size` bytes, with space reserved for what is added.

        :raises BlockIOError: with QEMU's text; the length is as before
        """
        current = self.length()
        if size <= current:
            return
        try:
            os.posix_fallocate(self.fd, current, size - current)
        except OSError as error:
            self.truncate(current)
            raise _resize_error("Could not preallocate data for the new file", error) from None

    def flush(self) -> None:
        """Make what was written stable."""
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO) from None

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether data lies at `offset`, and for how many bytes (at most `length`) that holds."""
        if offset in self._data:
            return True, min(length, self._data.stop - offset)
        try:
            data = os.lseek(self.fd, offset, os.SEEK_DATA)
            if data > offset:
                return False, min(length, data - offset)
            hole = os.lseek(self.fd, offset, os.SEEK_HOLE)
        except OSError as error:
            # ENXIO: behind the last data. Where the host knows no holes, all is data.
            return error.errno != errno.ENXIO, length
        self._data = range(offset, hole)
        return True, min(length, hole - offset)

    def _fallocate(self, mode: int, offset: int, length: int) -> None:
        self._data = range(0)
        if length and _libc().fallocate(self.fd, mode, offset, length) != 0:
            code = ctypes.get_errno()
            raise BlockIOError(errno.ENOTSUP if code == errno.EOPNOTSUPP else code)


def _resize_error(what: str, error: OSError) -> BlockIOError:
    code = error.errno or errno.EIO
    return BlockIOError(code, f"{what}: {os.strerror(code)}")

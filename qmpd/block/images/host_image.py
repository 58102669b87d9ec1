"""An open file of the host: plain I/O on its descriptor."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache
from typing import Final

from qmpd.block.images.hints import set_extent_size, set_nocow
from qmpd.block.images.image import Fills, Image
from qmpd.block.images.locks import FileLocks
from qmpd.block.images.page_cache import is_cached
from qmpd.errors import BlockIOError

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2
_ZERO_RANGE: Final = 16
_WRITE_BACK: Final = 2
_RUNS: Final = 1 << 16
"""Runs that `fill_map` looks for in one call, about."""
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


@cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    """fallocate(2), which the standard library lacks: returns 0, or what went wrong as errno."""
    # not imported before it is needed: a program starts sooner without
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def fallocate(fd: int, mode: int, offset: int, length: int) -> int:
        return ctypes.get_errno() if function(fd, mode, offset, length) else 0

    return fallocate


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """sync_file_range(2), where the system has it."""
    import ctypes

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


class HostImage(Image):
    """A regular file of the host.

    :param fd: an open file description; the image owns it and closes it
    """

    in_threads = True

    def __init__(self, fd: int, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self.fd = fd
        # Finding the end of a long extent is slow, so the last one is remembered, as in QEMU's
        # bdrv_bsc_fill.
        self._data = range(0)
        self._at_once = _NOWAIT
        self._lost = 0
        """What a sync has failed with: what of the file is on the disk nobody knows since."""

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def new_locks(self) -> FileLocks:
        return FileLocks(self)

    def length(self) -> int:
        return os.fstat(self.fd).st_size

    def allocated(self) -> int:
        return os.fstat(self.fd).st_blocks * 512

    def pread(self, offset: int, length: int) -> bytes:
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

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        done, length = 0, len(buffer)
        try:
            while done < length:
                count = os.preadv(self.fd, (buffer[done:],), offset + done)
                if not count:
                    buffer[done:] = bytes(length - done)
                    return
                done += count
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO) from None

    def read_cached(self, offset: int, buffer: memoryview) -> bool:
        try:
            return os.preadv(self.fd, (buffer,), offset, self._at_once) == len(buffer)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP and self._at_once:
                # a file system in memory
                self._at_once = 0
                return self.read_cached(offset, buffer)
            return False

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        try:
            done = os.pwrite(self.fd, data, offset)
            while done < len(data):
                done += os.pwrite(self.fd, memoryview(data)[done:], offset + done)
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO) from None

    def punch(self, offset: int, length: int) -> None:
        self._fallocate(_PUNCH_HOLE | _KEEP_SIZE, offset, length)

    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
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
        self._data = range(0)
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise _resize_error("Could not resize file", error) from None
        finally:
            self._data = range(0)

    def allocate(self, size: int) -> None:
        current = self.length()
        if size <= current:
            return
        try:
            os.posix_fallocate(self.fd, current, size - current)
        except OSError as error:
            self.truncate(current)
            raise _resize_error("Could not preallocate new data", error) from None

    def flush(self) -> None:
        """Sync the file; once that has failed it fails for ever.

        The host tells of what it could not write only once (`page_cache_inconsistent` in
        block/file-posix.c).
        """
        if not self._lost:
            try:
                os.fdatasync(self.fd)
            except OSError as error:
                self._lost = error.errno or errno.EIO
        if self._lost:
            raise BlockIOError(self._lost)

    def begin_flush(self, offset: int, length: int) -> None:
        start = _sync_file_range()
        if start is not None:
            # what fails is left to the flush, which does it again and says so
            start(self.fd, offset, length, _WRITE_BACK)

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
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

    def fill_map(self, found: Fills, length: int) -> None:
        fd, seek, origin = self.fd, os.lseek, found.offset
        begin, end = origin + found.length, origin + length
        position, first = begin, 1
        starts: list[int] = []
        try:
            while position < end and len(starts) < _RUNS:
                data = seek(fd, position, os.SEEK_DATA)
                if position < data:
                    starts.append(position - origin)
                elif position == begin:
                    first = 0
                if data >= end:
                    position = end
                    break
                starts.append(data - origin)
                position = seek(fd, data, os.SEEK_HOLE)
        except OSError:
            # behind the last data, or where the host knows no holes
            found.extend(starts, first, position - origin)
            super().fill_map(found, length)
        else:
            found.extend(starts, first, min(position, end) - origin)

    def drop_cache(self, *, check: bool) -> None:
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise _failed("flush", error) from None
        try:
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise _failed("fadvise", error) from None
        if check:
            try:
                cached = is_cached(self.fd)
            except OSError as error:
                raise BlockIOError(
                    error.errno or errno.EIO, f"{error.strerror}: {os.strerror(error.errno or 0)}"
                ) from None
            if cached:
                raise BlockIOError(errno.EINVAL, "page cache still in use!")

    def give_hints(self, *, nocow: bool, extent_size: int) -> None:
        if nocow:
            set_nocow(self.fd)
        if extent_size:
            set_extent_size(self.fd, extent_size)

    def _fallocate(self, mode: int, offset: int, length: int) -> None:
        self._data = range(0)
        code = _fallocate()(self.fd, mode, offset, length) if length else 0
        # somebody may have looked while a thread was at it
        self._data = range(0)
        if code:
            raise BlockIOError(errno.ENOTSUP if code == errno.EOPNOTSUPP else code)


def _failed(what: str, error: OSError) -> BlockIOError:
    number = error.errno or errno.EIO
    return BlockIOError(number, f"{what} failed: {os.strerror(number)}")


def _resize_error(what: str, error: OSError) -> BlockIOError:
    code = error.errno or errno.EIO
    return BlockIOError(code, f"{what}: {os.strerror(code)}")

"""The three storages: memory, overlay and host."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod

from qmpd.block.images.image import Image
from qmpd.errors import BlockIOError


def _could_not(verb: str, filename: str, code: int) -> BlockIOError:
    return BlockIOError(code, f"Could not {verb} '{filename}': {os.strerror(code)}")


class Storage(ABC):
    """Opens and creates images by file name."""

    @abstractmethod
    def open(
        self, filename: str, *, read_only: bool = False, auto_read_only: bool = False
    ) -> Image:
        """Open an image.

        :param auto_read_only: open it read-only where it cannot be written
        :raises BlockIOError: in QEMU's words
        """

    @abstractmethod
    def create(self, filename: str) -> Image:
        """Make an empty image, or empty the one that is there."""

    def close(self) -> None:  # noqa: B027
        """Forget everything that is kept in memory; most keep nothing there."""


class HostStorage(Storage):
    """Files of the host."""

    def open(
        self, filename: str, *, read_only: bool = False, auto_read_only: bool = False
    ) -> Image:
        """See `Storage.open`."""
        path = filename.removeprefix("file:")
        flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR)
        try:
            fd = os.open(path, flags)
        except OSError as error:
            code = error.errno or errno.EIO
            if auto_read_only and not read_only and code in (errno.EACCES, errno.EROFS):
                return self.open(filename, read_only=True)
            raise _could_not("open", filename, code) from None
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            os.close(fd)
            raise _could_not("open", filename, errno.EISDIR)
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise BlockIOError(
                errno.EINVAL, f"'file' driver requires '{filename}' to be a regular file"
            )
        return Image(fd, read_only=read_only)

    def create(self, filename: str) -> Image:
        """See `Storage.create`."""
        path = filename.removeprefix("file:")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise _could_not("create", filename, error.errno or errno.EIO) from None
        return Image(fd, read_only=False)


class MemoryStorage(Storage):
    """Sparse anonymous files in memory, one for each file name; nothing on disk is touched."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def open(
        self, filename: str, *, read_only: bool = False, auto_read_only: bool = False
    ) -> Image:
        """See `Storage.open`."""
        fd = self._files.get(filename.removeprefix("file:"))
        if fd is None:
            raise _could_not("open", filename, errno.ENOENT)
        return Image(os.dup(fd), read_only=read_only)

    def create(self, filename: str) -> Image:
        """See `Storage.create`."""
        path = filename.removeprefix("file:")
        if path not in self._files:
            self._files[path] = os.memfd_create(os.path.basename(path)[:200] or "image")
        image = Image(os.dup(self._files[path]), read_only=False)
        image.truncate(0)
        return image

    def __contains__(self, filename: str) -> bool:
        return filename.removeprefix("file:") in self._files

    def close(self) -> None:
        """See `Storage.close`."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()


class OverlayStorage(MemoryStorage):
    """Files of the host are read; what is written stays in memory.

    A file is copied to memory, its holes left out, when it is first opened for writing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._host = HostStorage()

    def open(
        self, filename: str, *, read_only: bool = False, auto_read_only: bool = False
    ) -> Image:
        """See `Storage.open`."""
        if filename not in self:
            below = self._host.open(filename, read_only=True)
            if read_only:
                return below
            try:
                self._copy(below, self.create(filename))
            finally:
                below.close()
        return super().open(filename, read_only=read_only)

    @staticmethod
    def _copy(source: Image, target: Image) -> None:
        size, offset = source.length(), 0
        target.truncate(size)
        while offset < size:
            is_data, length = source.extent(offset, min(size - offset, 1 << 20))
            if is_data:
                target.pwrite(offset, source.pread(offset, length))
            offset += length
        target.close()

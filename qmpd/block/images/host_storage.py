"""The host storage: image files are files of the host."""

from __future__ import annotations

import errno
import os
import stat

from qmpd.base.override import override
from qmpd.block.images.host_image import HostImage
from qmpd.block.images.image import Image
from qmpd.block.images.storage import Storage, could_not
from qmpd.errors import BlockIOError


class HostStorage(Storage):
    """Files of the host."""

    @override
    def open(self, filename: str, *, read_only: bool = False) -> Image:
        flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR)
        try:
            fd = os.open(filename, flags)
        except OSError as error:
            code = error.errno or errno.EIO
            raise could_not("open", filename, code) from None
        except ValueError:
            # A file name with a null byte: no such file.
            raise could_not("open", filename, errno.ENOENT) from None
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return HostImage(fd, read_only=read_only)
        os.close(fd)
        raise BlockIOError(
            errno.EINVAL, f"'file' driver requires '{filename}' to be a regular file"
        )

    @override
    def create(self, filename: str) -> Image:
        try:
            fd = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise could_not("create", filename, error.errno or errno.EIO) from None
        return HostImage(fd, read_only=False)

    def read_start(self, filename: str, length: int) -> bytes:
        """Read a file of any kind."""
        with open(filename, "rb") as file:
            return file.read(length)

    @override
    def read_text(self, filename: str) -> str:
        """Read a small file; a directory fails with EISDIR."""
        if os.path.isdir(filename):
            raise could_not("open", filename, errno.EISDIR)
        return super().read_text(filename)

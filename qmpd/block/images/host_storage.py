"""The host storage: image files are files of the host."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from qmpd.base.override import override
from qmpd.block.images.host_image import HostImage
from qmpd.block.images.image import Image
from qmpd.block.images.storage import Storage, could_not
from qmpd.errors import BlockIOError

_TEXT: Final = 1 << 20
"""Most bytes that are read of a text."""


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
        """Read a small file of any kind; a directory fails with EISDIR.

        Of what has no end, the first `_TEXT` bytes are read.
        """
        try:
            # not to wait for the other end of a pipe
            fd = os.open(filename, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise could_not("open", filename, error.errno or errno.EIO) from None
        except ValueError:
            raise could_not("open", filename, errno.ENOENT) from None
        try:
            return os.read(fd, _TEXT).decode("utf-8", "replace")
        except OSError as error:
            raise could_not("open", filename, error.errno or errno.EIO) from None
        finally:
            os.close(fd)

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
    def open(self, filename: str, *, read_only: bool = False) -> HostImage:
        flags = os.O_RDONLY if read_only else os.O_RDWR
        try:
            fd = self.host.open(filename, flags)
        except OSError as error:
            raise could_not("open", filename, error) from None
        if stat.S_ISREG(os.fstat(fd).st_mode):
            self.host.image_opened(filename, writes=not read_only)
            return HostImage(fd, read_only=read_only)
        os.close(fd)
        raise BlockIOError(
            errno.EINVAL, f"'file' driver requires '{filename}' to be a regular file"
        )

    @override
    def create(self, filename: str) -> Image:
        try:
            fd = self.host.open(filename, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise could_not("create", filename, error) from None
        self.host.image_opened(filename, writes=True)
        return HostImage(fd, read_only=False)

    @override
    def delete(self, filename: str) -> None:
        try:
            regular = stat.S_ISREG(self.host.stat(filename).st_mode)
        except OSError:
            regular = False
        if not regular:
            text = f"{filename} is not a regular file: {os.strerror(errno.ENOENT)}"
            raise BlockIOError(errno.ENOENT, text)
        try:
            self.host.delete(filename)
        except OSError as error:
            number = error.errno or errno.EIO
            text = f"Error when deleting file {filename}: {os.strerror(number)}"
            raise BlockIOError(number, text) from None

    def read_start(self, filename: str, length: int) -> bytes:
        """Read a file of any kind."""
        return self.host.read(filename, length)

    @override
    def read_text(self, filename: str) -> str:
        """Read a small file of any kind; a directory fails with EISDIR.

        Of what has no end, the first part is read.
        """
        try:
            return self.host.read(filename).decode("utf-8", "replace")
        except OSError as error:
            raise could_not("open", filename, error) from None

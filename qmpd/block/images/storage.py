"""What a storage does: it opens and creates images by file name."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from qmpd.block.images.host_image import HostImage
from qmpd.block.images.image import Image
from qmpd.block.images.memory import MemoryFile, MemoryImage
from qmpd.block.permission_bits import Perm
from qmpd.errors import BlockIOError


def could_not(verb: str, filename: str, code: int) -> BlockIOError:
    """The error of opening or creating a file."""
    return BlockIOError(code, f"Could not {verb} '{filename}': {os.strerror(code)}")


class Storage(ABC):
    """Opens and creates images by file name."""

    @abstractmethod
    def open(self, filename: str, *, read_only: bool = False) -> Image:
        """Open an image; each time with an open file description, and so locks, of its own.

        :raises BlockIOError: in QEMU's words
        """

    @abstractmethod
    def create(self, filename: str) -> Image:
        """Open an image for writing; where there is none, an empty one is made.

        :raises BlockIOError: in QEMU's words
        """

    def hold(self, filename: str, perm: Perm, unshared: Perm) -> None:  # noqa: B027
        """Have other programs respect what is done with an image that stands on another file.

        :param perm: permissions that its users have
        :param unshared: those that they do not let others have
        :raises BlockIOError: another program objects
        """

    def read_text(self, filename: str) -> str:
        """The contents of a small file.

        :raises BlockIOError: there is none
        """
        image = self.open(filename, read_only=True)
        try:
            return image.pread(0, image.length()).decode("utf-8", "replace")
        finally:
            image.close()

    def close(self) -> None:  # noqa: B027 (a storage that keeps nothing has nothing to do)
        """Forget everything that is kept in memory."""


class HostStorage(Storage):
    """Files of the host."""

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        """See `Storage.open`."""
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

    def create(self, filename: str) -> Image:
        """See `Storage.create`."""
        try:
            fd = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise could_not("create", filename, error.errno or errno.EIO) from None
        return HostImage(fd, read_only=False)

    def read_text(self, filename: str) -> str:
        """See `Storage.read_text`; a directory is one that cannot be read."""
        if os.path.isdir(filename):
            raise could_not("open", filename, errno.EISDIR)
        return super().read_text(filename)


class MemoryStorage(Storage):
    """Sparse files in memory, one for each file name; nothing on disk is touched.

    They need no file descriptors and go with the storage: nobody has to close a machine that is
    no longer used.
    """

    def __init__(self) -> None:
        self._files: dict[str, MemoryFile] = {}

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        file = self._files.get(filename)
        if file is None:
            raise could_not("open", filename, errno.ENOENT)
        return MemoryImage(file, read_only=read_only)

    def create(self, filename: str) -> Image:
        file = self._files.get(filename)
        if file is None:
            file = self._files[filename] = MemoryFile()
        return MemoryImage(file, read_only=False)

    def __contains__(self, filename: str) -> bool:
        return filename in self._files

    def close(self) -> None:
        self._files.clear()


class Storages(Storage):
    """The storage of a machine, where single file names may have another for a while.

    :param usual: where all other names live; not closed with this one
    """

    def __init__(self, usual: Storage) -> None:
        self._usual = usual
        self._private: dict[str, Storage] = {}

    def of(self, filename: str) -> Storage:
        """The storage that has the bytes of `filename`."""
        return self._private.get(filename, self._usual)

    @contextmanager
    def private(self, filename: str) -> Iterator[None]:
        """Let `filename` live in memory, in a storage of its own.

        A node that opens the file meanwhile keeps to that storage until it is closed; to all
        others the name means afterwards what it meant before.
        """
        self._private[filename] = MemoryStorage()
        try:
            yield
        finally:
            del self._private[filename]

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        """Open an image where its name lives."""
        return self.of(filename).open(filename, read_only=read_only)

    def create(self, filename: str) -> Image:
        """Make an image where its name lives."""
        return self.of(filename).create(filename)

    def hold(self, filename: str, perm: Perm, unshared: Perm) -> None:
        """Have other programs respect what is done with `filename`."""
        self.of(filename).hold(filename, perm, unshared)

    def read_text(self, filename: str) -> str:
        """The contents of a small file."""
        return self.of(filename).read_text(filename)

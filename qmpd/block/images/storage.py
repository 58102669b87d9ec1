"""The interface of storages, which open and create images by file name."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from qmpd.block.images.host_files import HostFiles, OutOfReachError
from qmpd.block.images.room import Room
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.images.image import Image
    from qmpd.block.images.memory import MemoryFile
    from qmpd.block.permission_bits import Perm

FDSET_PREFIX: Final = "/dev/fdset/"
"""How names begin that stand for descriptors which clients have handed over."""


def could_not(verb: str, filename: str, why: int | OSError) -> BlockIOError:
    """The error of opening or creating a file.

    :param why: what went wrong, or its errno
    """
    code = why if isinstance(why, int) else why.errno or errno.EIO
    reason = why.strerror if isinstance(why, OutOfReachError) else os.strerror(code)
    return BlockIOError(code, f"Could not {verb} '{filename}': {reason}")


class ImageSize(NamedTuple):
    """How large an image in memory is.

    :param length: its length in bytes
    :param allocated: bytes of it that take memory
    """

    length: int
    allocated: int


class Storage(ABC):
    """Opens and creates images by file name.

    Whoever wants to know anything of a file that a client has named asks the storage: a client
    reads no more of the host than the storage does, and changes no more.

    :param host: the files of the host, for what is no image as well; all of them if absent
    :param room: where images in memory count; one of its own if absent
    """

    def __init__(self, host: HostFiles | None = None, room: Room | None = None) -> None:
        self.host = HostFiles() if host is None else host
        self.room = Room() if room is None else room

    @property
    def reads_host(self) -> bool:
        """Whether names lead to files of the host."""
        return True

    @property
    def changes_host(self) -> bool:
        """Whether files of the host are created, written, replaced or deleted."""
        return True

    def mode(self, filename: str) -> int:
        """The type and permissions of a file, `stat.st_mode`.

        :raises OSError: there is none
        """
        return self.host.stat(filename).st_mode

    def real_path(self, filename: str) -> str:
        """The absolute name of a file, without symbolic links."""
        return self.host.real_path(filename)

    def temporary_name(self, end: str) -> str:
        """The name of a temporary file (``create_tmp_file``), which is not made.

        :param end: what makes it different from others
        :raises BlockIOError: it could not be made
        """
        directory = self.host.temporary_directory()
        name = f"{directory}/vl.{end}"
        try:
            self.host.check_directory(directory)
        except OSError as error:
            code = error.errno or errno.EIO
            reason = os.strerror(code)
            raise BlockIOError(code, f"Could not open temporary file '{name}': {reason}") from None
        return name

    def read_start(self, filename: str, length: int) -> bytes:
        """The first `length` bytes of a file, or all that there are.

        :raises OSError: it cannot be read
        """
        try:
            image = self.open(filename, read_only=True)
        except BlockIOError as error:
            raise OSError(error.errno, os.strerror(error.errno)) from None
        try:
            return image.pread(0, min(length, image.length()))
        finally:
            image.close()

    @abstractmethod
    def open(self, filename: str, *, read_only: bool = False) -> Image:
        """Open an image; each time with an open file description, and so locks, of its own.

        :raises BlockIOError: with QEMU's text
        """

    @abstractmethod
    def create(self, filename: str) -> Image:
        """Open an image for writing; where there is none, an empty one is made.

        :raises BlockIOError: with QEMU's text
        """

    def hold(self, filename: str, perm: Perm, unshared: Perm) -> None:  # noqa: B027 (most have nothing to do)
        """Lock a file of the host for an image that covers it.

        :param perm: permissions that its users have
        :param unshared: permissions that they do not share
        :raises BlockIOError: it conflicts with another program
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

    def files(self) -> dict[str, MemoryFile]:
        """All files that are kept in memory, by their names, with all of their bytes.

        :raises GenericError: they are not kept there
        """
        raise GenericError("Images are not in memory: they cannot be saved")

    def sizes(self) -> dict[str, ImageSize]:
        """The images that are kept in memory, in whole or their changes, by their names."""
        return {}

    def remove(self, filename: str) -> None:
        """Remove an image from memory, or its changes; handles that are open keep the bytes.

        :raises LookupError: it is not there
        """
        raise LookupError(f"there is no image '{filename}' in memory")

    def delete(self, filename: str) -> None:
        """Delete a regular file, or the image in memory (``raw_co_delete_file``).

        :raises BlockIOError: with QEMU's text
        """
        with suppress(LookupError):
            self.remove(filename)

    def close(self) -> None:  # noqa: B027 (most have nothing to do)
        """Drop everything that is kept in memory."""

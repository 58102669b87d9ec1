"""Descriptor sets: files that a client has opened, and hands over (``add-fd``).

A node whose file is called ``/dev/fdset/N`` works on a descriptor of set N, in every storage:
whoever hands a descriptor over has said that the file behind it may be read, and written where it
is open for writing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable
from typing import Any, Final

from qmpd.base.descriptor import Descriptor
from qmpd.base.override import override
from qmpd.base.scalars import decimal_number
from qmpd.base.sizes import INT_MAX
from qmpd.block.images.host_image import HostImage
from qmpd.block.images.image import Image
from qmpd.block.images.storage import FDSET_PREFIX, Storage, could_not
from qmpd.errors import BlockIOError, GenericError

"""What names of files in a set begin with."""

_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")
_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_MUST_MATCH: Final = os.O_ACCMODE | _DIRECT
_O_SYNC: Final = getattr(os, "O_SYNC", 0)


class FdSet:
    """The descriptors of one set, newest first, each with the client's word for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.given: list[tuple[Descriptor, str | None]] = []
        self.in_use = 0
        """How many images, character devices and streams work on a descriptor of it."""


class FdSets:
    """The descriptor sets of one machine, by their numbers.

    :param available: whether there may be any; the storage daemon has no command that makes one
    """

    def __init__(self, *, available: bool = True) -> None:
        self._available = available
        self._sets: dict[int, FdSet] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def add(
        self, descriptor: Descriptor, number: int | None, opaque: str | None
    ) -> dict[str, int | None]:
        """Add a descriptor to a set, which is made if it is not there (``qmp_add_fd``).

        :param number: of the set; None for a new one
        :param opaque: what the client calls it
        :returns: AddfdInfo
        :raises GenericError: the number is negative
        """
        if number is not None and number < 0:
            raise GenericError("Parameter 'fdset-id' expects a non-negative value")
        if number is None:
            number = 0
            while number in self._sets:
                number += 1
        fdset = self._sets.setdefault(number, FdSet(number))
        fdset.given.insert(0, (descriptor, opaque))
        return {"fdset-id": number, "fd": descriptor.number}

    def remove(self, number: int, fd: int | None) -> None:
        """Close the descriptors of a set, or one of them (``qmp_remove_fd``).

        A set in which nothing is left goes when no image works on one of its descriptors.

        :raises GenericError: there is no such set, or no such descriptor in it
        """
        fdset = self._sets.get(number)
        found = []
        if fdset is not None:
            found = [each for each in fdset.given if fd is None or each[0].number == fd]
        if fdset is None or (fd is not None and not found):
            name = f"fdset-id:{number}" + ("" if fd is None else f", fd:{fd}")
            raise GenericError(f"File descriptor named '{name}' not found")
        for each in found:
            fdset.given.remove(each)
            each[0].close()
        self._drop_if_empty(fdset)

    def query(self) -> list[dict[str, Any]]:
        """FdsetInfo of all sets, the highest number first."""
        return [
            {
                "fdset-id": number,
                "fds": [
                    {"fd": descriptor.number, **({} if opaque is None else {"opaque": opaque})}
                    for descriptor, opaque in reversed(self._sets[number].given)
                ],
            }
            for number in sorted(self._sets, reverse=True)
        ]

    def duplicate(self, filename: str, flags: int) -> tuple[int, FdSet]:
        """A descriptor of the file that `filename` means, opened as `flags` say.

        It shares the client's open file description, its locks and its position among them, but
        for one with O_DIRECT: qmpd's buffers are not aligned, so that the file is opened anew.

        :raises BlockIOError: QEMU's text
        """
        text = filename.removeprefix(FDSET_PREFIX)
        number = decimal_number(text) if _NUMBER.fullmatch(text) else -1
        if not 0 <= number <= INT_MAX:
            raise BlockIOError(errno.EINVAL, f"Could not parse fdset {filename}")
        if not self._available:
            raise _missing(filename, creates=bool(flags & os.O_CREAT))
        fdset = self._sets.get(number)
        if fdset is None:
            raise BlockIOError(errno.ENOENT, f"Failed to find fdset {FDSET_PREFIX}{number}")
        for descriptor, _ in fdset.given:
            fd = descriptor.number
            assert fd is not None
            own_flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            if own_flags & _MUST_MATCH == flags & _MUST_MATCH:
                return _duplicate(fd, filename, flags, own_flags), fdset
        raise BlockIOError(
            errno.EACCES, f"Failed to find file descriptor with matching flags=0x{flags:x}"
        )

    def open(self, filename: str, flags: int) -> tuple[int, Callable[[], None]]:
        """Use a descriptor of a set, see `duplicate`; the set is there until nobody does.

        :returns: the descriptor, and what is to be called once it has been closed (``qemu_close``)
        """
        fd, fdset = self.duplicate(filename, flags)
        fdset.in_use += 1

        def left() -> None:
            fdset.in_use -= 1
            self._drop_if_empty(fdset)

        return fd, left

    def _drop_if_empty(self, fdset: FdSet) -> None:
        if not fdset.given and not fdset.in_use and self._sets.get(fdset.number) is fdset:
            del self._sets[fdset.number]

    def close(self) -> None:
        """Close all descriptors: the machine ends."""
        for number in list(self._sets):
            self.remove(number, None)


def _missing(filename: str, *, creates: bool) -> BlockIOError:
    if creates:
        return BlockIOError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return could_not("open", filename, errno.ENOSYS)


def _duplicate(fd: int, filename: str, flags: int, own_flags: int) -> int:
    if own_flags & _DIRECT:
        try:
            return os.open(f"/proc/self/fd/{fd}", flags & os.O_ACCMODE | os.O_CLOEXEC)
        except OSError as error:
            raise could_not("open", filename, error.errno or errno.EIO) from None
    copy = -1
    try:
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        if own_flags & _O_SYNC:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fcntl.fcntl(copy, fcntl.F_SETFL, flags)
        if flags & os.O_TRUNC:
            os.ftruncate(copy, 0)
    except OSError as error:
        if copy >= 0:
            os.close(copy)
        raise BlockIOError(
            error.errno or errno.EIO, f"Failed to dup() given file descriptor fd={fd}"
        ) from None
    return copy


class FdSetImage(HostImage):
    """An open file of a descriptor set.

    :param left: called when it has been closed
    """

    def __init__(self, fd: int, *, read_only: bool, left: Callable[[], None]) -> None:
        super().__init__(fd, read_only=read_only)
        self._left: Callable[[], None] | None = left

    @override
    def close(self) -> None:
        super().close()
        left, self._left = self._left, None
        if left is not None:
            left()


class FdSetStorage(Storage):
    """Files called ``/dev/fdset/N``.

    :param sets: the sets of the machine
    :param direct: whether descriptors with O_DIRECT are wanted (``cache.direct``)
    """

    def __init__(self, sets: FdSets, *, direct: bool = False) -> None:
        super().__init__()
        self._sets = sets
        self._direct = _DIRECT if direct else 0

    @override
    def open(self, filename: str, *, read_only: bool = False) -> Image:
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | self._direct
        image = self._image(filename, flags, read_only=read_only)
        if not stat.S_ISREG(os.fstat(image.fd).st_mode):
            image.close()
            raise BlockIOError(
                errno.EINVAL, f"'file' driver requires '{filename}' to be a regular file"
            )
        return image

    @override
    def create(self, filename: str) -> Image:
        return self._image(filename, os.O_RDWR | os.O_CREAT, read_only=False)

    def _image(self, filename: str, flags: int, *, read_only: bool) -> FdSetImage:
        fd, left = self._sets.open(filename, flags)
        return FdSetImage(fd, read_only=read_only, left=left)

    @override
    def mode(self, filename: str) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), filename)

    @override
    def read_start(self, filename: str, length: int) -> bytes:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), filename)

    @override
    def read_text(self, filename: str) -> str:
        raise could_not("open", filename, errno.ENOENT)

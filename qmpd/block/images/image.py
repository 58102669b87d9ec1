"""The interface of open images, wherever their bytes are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.block.images.locks import Locks


class Fills(Protocol):
    """A map of what an area holds (`qmpd.block.model.status_map`): 0 for data, 1 for zeroes."""

    offset: int
    length: int

    def add(self, length: int, state: int) -> None:
        """Add a run."""

    def extend(self, starts: Sequence[int], first: int, length: int) -> None:
        """Add runs that alternate, and the new length of all."""


class Image(ABC):
    """An open image: one handle on a file's bytes, with locks of its own.

    Offsets and lengths are in bytes.  Several handles may be open on the same file; what one
    writes the others read.

    :param read_only: whether writes fail (EBADF)
    """

    in_threads = False
    """Whether any thread may read and write here."""

    fd = -1
    """Descriptor of a file of the host that has the bytes, where one has."""

    def __init__(self, *, read_only: bool) -> None:
        self.read_only = read_only

    def __del__(self) -> None:
        # one that was never finished has nothing to close
        with suppress(AttributeError):
            self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the handle and give up its locks; closing it twice does nothing."""

    @abstractmethod
    def new_locks(self) -> Locks:
        """The locks that this handle holds on the file: none yet."""

    @abstractmethod
    def length(self) -> int:
        """Length of the file."""

    @abstractmethod
    def allocated(self) -> int:
        """How many bytes of storage the file takes."""

    @abstractmethod
    def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes; beyond the end of the file there are zeroes.

        :raises BlockIOError: the read fails
        """

    def parts(self, offset: int, length: int) -> Sequence[bytes]:
        """What `pread` reads, in the pieces in which it is there.

        :raises BlockIOError: the read fails
        """
        return (self.pread(offset, length),)

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Read as many bytes as `buffer` has room for.

        :raises BlockIOError: the read fails
        """
        buffer[:] = self.pread(offset, len(buffer))

    def read_cached(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer`, if that needs no waiting for a disk; returns whether it has been."""
        return False

    @abstractmethod
    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`; the file grows to hold it.

        :raises BlockIOError: the write fails
        """

    def pwrite_parts(self, offset: int, parts: Sequence[bytes]) -> None:
        """Write pieces, one behind the other.

        :raises BlockIOError: the write fails
        """
        self.pwrite(offset, b"".join(parts))

    @abstractmethod
    def punch(self, offset: int, length: int) -> None:
        """Free the storage of an area, which reads as zeroes afterwards.

        :raises BlockIOError: ENOTSUP where the file system cannot
        """

    @abstractmethod
    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
        """Make an area read as zeroes; the file grows to hold it.

        :param may_unmap: whether the area's storage may be freed; it stays reserved otherwise
        :raises BlockIOError: ENOTSUP to have the caller write zeroes instead
        """

    @abstractmethod
    def truncate(self, size: int) -> None:
        """Cut or extend the file to `size` bytes.

        :raises BlockIOError: with QEMU's text
        """

    @abstractmethod
    def allocate(self, size: int) -> None:
        """Extend the file to `size` bytes and reserve storage for what is added.

        :raises BlockIOError: with QEMU's text; the length is as before
        """

    @abstractmethod
    def flush(self) -> None:
        """Make everything written so far durable.

        :raises BlockIOError: it fails
        """

    def begin_flush(self, offset: int, length: int) -> None:  # noqa: B027 (most need none)
        """Begin to make an area durable: a flush will be asked for, and has less to wait for."""

    @abstractmethod
    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether there is data at `offset`, and for how many bytes that holds.

        :param length: the most bytes that are of interest, and the most that are returned
        :returns: False for a hole, which reads as zeroes
        """

    def fill_map(self, found: Fills, length: int) -> None:
        """Add what `extent` tells, up to a length of `length` bytes; it may be a part."""
        while found.length < length:
            position = found.offset + found.length
            is_data, count = self.extent(position, length - found.length)
            found.add(count, 0 if is_data else 1)

    def drop_cache(self, *, check: bool) -> None:  # noqa: B027 (most have none)
        """Have the host forget what it keeps of the file in memory.

        :param check: whether to look if it has
        :raises BlockIOError: it cannot be done, or it has not been done
        """

    def give_hints(self, *, nocow: bool, extent_size: int) -> None:  # noqa: B027 (optional)
        """Tell the file system how a new file is going to be used; it may ignore that.

        :param nocow: overwrite blocks in place, where the file system would copy them
        :param extent_size: bytes that are allocated at a time, 0 to leave it to the file system
        """

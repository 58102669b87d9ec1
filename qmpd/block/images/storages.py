"""The storage of a machine, put together from others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from qmpd.block.images.image import Image
from qmpd.block.images.memory_storage import MemoryStorage
from qmpd.block.images.storage import FDSET_PREFIX, Storage
from qmpd.block.permission_bits import Perm

if TYPE_CHECKING:
    from qmpd.block.images.fdsets import FdSets


class Gate(Protocol):
    """Is asked before a node opens or locks its file, and before a file is made.

    Each raises BlockIOError where that is to fail.
    """

    async def opens(self, filename: str, node_name: str) -> None:
        """A node is about to open a file."""

    def opens_now(self, filename: str, node_name: str) -> None:
        """A node is about to open its file once more, and cannot wait."""

    async def creates(self, filename: str) -> None:
        """A file is about to be made."""

    def locks(self, filename: str, node_name: str, perm: Perm) -> None:
        """A node is about to take the locks that go with `perm`."""


class Storages(Storage):
    """The storage of a machine, where single file names may have another for a while.

    :param usual: where all other names live; not closed with this one
    :param has_fdsets: whether clients may hand over descriptors for ``/dev/fdset/N``
    """

    def __init__(self, usual: Storage, *, has_fdsets: bool = True) -> None:
        super().__init__(usual.host, usual.room)
        self.gate: Gate | None = None
        """Is asked first, where there is one: what a test bench makes fail."""
        self._usual = usual
        self._has_fdsets = has_fdsets
        self._private: dict[str, Storage] = {}

    @property
    def usual(self) -> Storage:
        """Where all names live that have no other storage."""
        return self._usual

    @cached_property
    def fdsets(self) -> FdSets:
        """The descriptors that clients have handed over for ``/dev/fdset/N``."""
        from qmpd.block.images.fdsets import FdSets

        return FdSets(available=self._has_fdsets)

    @property
    def has_descriptors(self) -> bool:
        """Whether there are descriptor sets."""
        return "fdsets" in self.__dict__ and len(self.fdsets) > 0

    def of(self, filename: str, *, direct: bool = False) -> Storage:
        """The storage that has the bytes of `filename`.

        :param direct: whether the file is for ``cache.direct``: of descriptors that a client has
            handed over, one that was opened so is needed
        """
        if filename.startswith(FDSET_PREFIX):
            from qmpd.block.images.fdsets import FdSetStorage

            return FdSetStorage(self.fdsets, direct=direct)
        return self._private.get(filename, self._usual)

    @contextmanager
    def private(self, filename: str, storage: Storage | None = None) -> Iterator[None]:
        """Let `filename` live in memory, in a storage of its own.

        A node that opens the file meanwhile keeps to that storage until it is closed; to all
        others the name means afterwards what it meant before.

        :param storage: the storage; a new one if absent
        """
        self._private[filename] = MemoryStorage(room=self.room) if storage is None else storage
        try:
            yield
        finally:
            del self._private[filename]

    @property
    def reads_host(self) -> bool:
        """Whether names lead to files of the host."""
        return self._usual.reads_host

    @property
    def changes_host(self) -> bool:
        """Whether files of the host are changed."""
        return self._usual.changes_host

    def mode(self, filename: str) -> int:
        """The type and permissions of a file where its name lives."""
        return self.of(filename).mode(filename)

    def real_path(self, filename: str) -> str:
        """The absolute name of a file where it lives."""
        return self.of(filename).real_path(filename)

    def temporary_name(self, end: str) -> str:
        """The name of a temporary file where most names live."""
        return self._usual.temporary_name(end)

    def read_start(self, filename: str, length: int) -> bytes:
        """The first bytes of a file where its name lives."""
        return self.of(filename).read_start(filename, length)

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        """Open an image where its name lives."""
        return self.of(filename).open(filename, read_only=read_only)

    def create(self, filename: str) -> Image:
        """Make an image where its name lives."""
        return self.of(filename).create(filename)

    def delete(self, filename: str) -> None:
        """Delete a file where its name lives."""
        self.of(filename).delete(filename)

    def hold(self, filename: str, perm: Perm, unshared: Perm) -> None:
        """Have other programs respect what is done with `filename`."""
        self.of(filename).hold(filename, perm, unshared)

    def read_text(self, filename: str) -> str:
        """The contents of a small file."""
        return self.of(filename).read_text(filename)

    def close(self) -> None:
        """Close the descriptors that clients have handed over."""
        if "fdsets" in self.__dict__:
            self.fdsets.close()

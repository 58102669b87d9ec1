"""The storage of a machine whose power may be lost."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from qmpd.base.override import override
from qmpd.block.images.host_files import HostFiles
from qmpd.block.images.host_storage import HostStorage
from qmpd.block.images.image import Image
from qmpd.block.images.memory import MemoryFile, file_of
from qmpd.block.images.memory_storage import MemoryStorage
from qmpd.block.images.room import Room
from qmpd.errors import BlockIOError
from qmpd.sim.power.file import Change, Keep, OrderedFile, Unflushed

Watch = Callable[[str, Change], None]
"""Takes the name of a file, and what was done to it."""


class OrderedStorage(MemoryStorage):
    """Files in memory that keep the order of their writes and flushes.

    :param over_host: whether files of the host can be read; one is copied as a whole when it is
        first opened, and is not changed
    """

    def __init__(
        self,
        host: HostFiles | None = None,
        room: Room | None = None,
        *,
        over_host: bool = False,
    ) -> None:
        super().__init__(host, room)
        self._below = HostStorage(self.host) if over_host else None
        self.watch: Watch | None = None
        """Called after each write and each flush, where somebody wants to know."""

    @property
    def reads_host(self) -> bool:
        """Whether names lead to files of the host."""
        return self._below is not None

    def _new_file(self, filename: str) -> OrderedFile:
        def happened(_: OrderedFile, change: Change) -> None:
            if self.watch is not None:
                self.watch(filename, change)

        return OrderedFile(happened, self.room)

    def put(self, filename: str, file: MemoryFile) -> None:
        """Have a file with the bytes of `file`, which are there for certain."""
        own = self._new_file(filename)
        own.take(file)
        super().put(filename, own)

    @override
    def open(self, filename: str, *, read_only: bool = False) -> Image:
        if self._below is not None and filename not in self:
            self.put(filename, _copied(self._below.open(filename, read_only=True)))
        return super().open(filename, read_only=read_only)

    @override
    def create(self, filename: str) -> Image:
        if self._below is not None and filename not in self:
            try:
                return self.open(filename)
            except BlockIOError:
                pass
        return super().create(filename)

    @override
    def mode(self, filename: str) -> int:
        if self._below is not None and filename not in self:
            return self._below.mode(filename)
        return super().mode(filename)

    def unflushed(self) -> dict[str, Unflushed]:
        """What is certain of each file now, and what is not."""
        return {
            name: file.unflushed()
            for name, file in self._files.items()
            if isinstance(file, OrderedFile)
        }

    def settle(self) -> None:
        """Let everything that was written be there for certain."""
        for file in self._files.values():
            if isinstance(file, OrderedFile):
                file.settle()

    def lose_power(self, keep: Keep, random: Random) -> None:
        """Let files be what a disk may have kept of them; handles that are open are not."""
        for name, unflushed in self.unflushed().items():
            self.put(name, unflushed.left(keep, random))


def _copied(image: Image) -> MemoryFile:
    try:
        return file_of(image)
    finally:
        image.close()

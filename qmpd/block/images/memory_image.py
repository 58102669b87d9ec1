"""Handles on files in memory, and what they lock of them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.block.images.image import Fills, Image
from qmpd.block.images.locks import Locks
from qmpd.block.images.pages import PAGE
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmpd.block.images.memory import MemoryFile


class MemoryLocks(Locks):
    """The bytes that one handle has locked, known to the other handles of the file."""

    def __init__(self, file: MemoryFile) -> None:
        super().__init__()
        self._others = file.locks
        self._others.append(self)

    def _take(self, byte: int) -> None:
        """Nothing to do: whoever looks for the byte finds it in `locked`."""

    def _give(self, byte: int) -> None:
        """Nothing to do, likewise."""

    def _is_locked(self, byte: int) -> bool:
        return any(byte in other.locked for other in self._others if other is not self)

    def release(self) -> None:
        """The handle is closed: its locks are gone."""
        self.locked.clear()
        if self in self._others:
            self._others.remove(self)


class MemoryImage(Image):
    """A handle on a file in memory."""

    def __init__(self, file: MemoryFile, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self.file = file
        self._locks: list[MemoryLocks] = []
        self._is_open = True
        file.hold()

    def close(self) -> None:
        if self._locks:
            self._release()
        if self._is_open:
            self._is_open = False
            self.file.let_go()

    def _release(self) -> None:
        while self._locks:
            self._locks.pop().release()

    def new_locks(self) -> MemoryLocks:
        self._release()
        locks = MemoryLocks(self.file)
        self._locks.append(locks)
        return locks

    def length(self) -> int:
        return self.file.length

    def allocated(self) -> int:
        return self.file.allocated()

    def pread(self, offset: int, length: int) -> bytes:
        return self.file.read(offset, length)

    def parts(self, offset: int, length: int) -> Sequence[bytes]:
        return self.file.parts(offset, length)

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        if self.read_only:
            raise BlockIOError(errno.EBADF)
        self.file.write(offset, data)

    def pwrite_parts(self, offset: int, parts: Sequence[bytes]) -> None:
        if offset % PAGE or any(len(part) != PAGE for part in parts):
            super().pwrite_parts(offset, parts)
            return
        self._check_writable()
        self.file.write_pages(offset, parts)

    def punch(self, offset: int, length: int) -> None:
        self._check_writable()
        self.file.punch(offset, length)

    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
        self._check_writable()
        if offset + length > self.length():
            self.truncate(offset + length)
        self.file.punch(offset, length)
        if length and not may_unmap:
            self.file.reserve(offset, length)

    def truncate(self, size: int) -> None:
        self._check_writable()
        self.file.truncate(size)

    def allocate(self, size: int) -> None:
        current = self.length()
        if size > current:
            self._check_writable()
            self.file.truncate(size)
            self.file.reserve(current, size - current)

    def flush(self) -> None:
        self.file.flush()

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        return self.file.extent(offset, length)

    def fill_map(self, found: Fills, length: int) -> None:
        self.file.fill_map(found, length)

    def _check_writable(self) -> None:
        if self.read_only:
            raise BlockIOError(errno.EBADF)

"""Files that remember what was written since the last flush.

A disk with a cache of its own promises one thing: what was written before a flush is there after
the power was lost.  Of what was written later there may be any part, in any order, sector by
sector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Literal, NamedTuple, get_args

from qmpd.block.images.memory import MemoryFile
from qmpd.block.images.room import Room

Keep = Literal["flushed", "random", "torn", "all"]
"""What is left of a file when the power is lost:

* ``flushed``: what was flushed, and nothing else
* ``random``: of what came after that any part, in whole sectors
* ``torn``: the same, and sectors may be written in part
* ``all``: everything that was written, as if the disk had no cache
"""

KEEPS: Final[tuple[Keep, ...]] = get_args(Keep)

SECTOR: Final = 512
"""Bytes that a disk writes as a whole."""

_WORD: Final = 8
"""Bytes that are written at once even where a sector is torn."""


class Change(NamedTuple):
    """Something that was done to a file.

    :param kind: ``write``, ``zero``, ``truncate`` or ``flush``
    :param offset: where; of truncate: the new length
    :param length: how many bytes
    :param data: of a write: what was written
    """

    kind: Literal["write", "zero", "truncate", "flush"]
    offset: int = 0
    length: int = 0
    data: bytes = b""


class Unflushed(NamedTuple):
    """What is known of a file at a moment.

    :param stable: what a disk has for certain; never written to
    :param changes: what was done since, the oldest first; the list may grow later
    :param end: how many of them there were
    """

    stable: MemoryFile
    changes: list[Change]
    end: int

    def left(self, keep: Keep, random: Random) -> MemoryFile:
        """What a disk may have of the file when the power is lost now."""
        file = self.stable.fork()
        if keep != "flushed":
            loss = _Loss(file, keep, random)
            for change in self.changes[: self.end]:
                loss.apply(change)
        return file


class _Loss:
    """One way in which the power may be lost, for one file."""

    def __init__(self, file: MemoryFile, keep: Keep, random: Random) -> None:
        self._file = file
        self._random = random
        self._tears = keep == "torn"
        self._chance = 1.0 if keep == "all" else random.choice((0.1, 0.5, 0.9))
        # whole requests get lost as often as single sectors
        self._by_request = random.random() < 0.5

    def _happens(self) -> bool:
        return self._random.random() < self._chance

    def apply(self, change: Change) -> None:
        """Do to the file what has reached the disk of `change`."""
        if change.kind == "truncate":
            if self._happens():
                self._file.truncate(change.offset)
        elif self._by_request:
            if self._happens():
                self._put(change, change.offset, change.offset + change.length)
        else:
            self._apply_sectors(change)

    def _apply_sectors(self, change: Change) -> None:
        start, end = change.offset, change.offset + change.length
        while start < end:
            stop = min(end, (start // SECTOR + 1) * SECTOR)
            if self._happens():
                self._put(change, start, stop)
            start = stop

    def _put(self, change: Change, start: int, end: int) -> None:
        if self._tears and self._random.random() < 0.5:
            border = self._random.randrange(start, end) // _WORD * _WORD
            if self._random.random() < 0.5:
                start = max(start, border)
            else:
                end = max(start, border)
        if change.kind == "zero":
            end = min(end, self._file.length)
            if start < end:
                self._file.punch(start, end - start)
        else:
            self._file.write(start, change.data[start - change.offset : end - change.offset])


class OrderedFile(MemoryFile):
    """A file in memory that keeps the order of its writes and flushes.

    :param happened: called after each change and each flush, with the file and what it was
    :param room: see `MemoryFile`
    """

    __slots__ = ("changes", "happened", "stable")

    def __init__(
        self, happened: Callable[[OrderedFile, Change], None], room: Room | None = None
    ) -> None:
        super().__init__(room)
        self.happened = happened
        self.stable = MemoryFile()
        self.changes: list[Change] = []

    def take(self, file: MemoryFile) -> None:
        """Have the bytes of another file, which are there for certain."""
        other = MemoryFile.fork(file)
        self._chunks, self._own = other._chunks, {}
        self._present, self._reserved = other._present, other._reserved
        self.length = file.length
        self.settle()

    def settle(self) -> None:
        """Let everything that was written be there for certain."""
        self.stable = MemoryFile.fork(self)
        self.changes = []

    def unflushed(self) -> Unflushed:
        """What is certain now, and what is not."""
        return Unflushed(self.stable, self.changes, len(self.changes))

    def fork(self) -> OrderedFile:
        """Another file like this one, which knows what is certain of it."""
        other = OrderedFile(self.happened)
        other.take(self)
        other.stable, other.changes = self.stable, list(self.changes)
        return other

    def _note(self, change: Change) -> None:
        self.changes.append(change)
        self.happened(self, change)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write, and remember it."""
        if data:
            # what cannot be remembered is not written
            change = Change("write", offset, len(data), bytes(data))
            super().write(offset, data)
            self._note(change)

    def write_pages(self, offset: int, pages: Sequence[bytes]) -> None:
        """Write, and remember it."""
        self.write(offset, b"".join(pages))

    def punch(self, offset: int, length: int) -> None:
        """Zero an area, and remember it."""
        super().punch(offset, length)
        if length > 0:
            self._note(Change("zero", offset, length))

    def truncate(self, size: int) -> None:
        """Cut or extend, and remember it."""
        changes = size != self.length
        super().truncate(size)
        if changes:
            self._note(Change("truncate", size))

    def flush(self) -> None:
        """Everything written so far is there for certain."""
        if self.changes:
            self.settle()
        self.happened(self, Change("flush"))

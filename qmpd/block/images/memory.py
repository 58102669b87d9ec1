"""Sparse files in memory, which cost no file descriptor.

A file is a table of pages of 4 KiB, the size in which Linux's own file systems keep holes.  A
page is an immutable `bytes` object; a page filled with one byte is the same object wherever it
occurs, so a disk that tests fill with patterns costs almost nothing.  Pages are kept in lists of
512, a chunk, which files share after a `MemoryFile.fork` until one of them writes there.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.images.pages import PAGE, ZEROES, cut, shared
from qmpd.block.images.ranges import Ranges
from qmpd.block.images.room import Room
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.images.image import Fills, Image
    from qmpd.block.images.locks import Locks

_COPY: Final = 1 << 20
"""Most bytes that `file_of` reads at a time."""

_SHIFT: Final = 9
_CHUNK: Final = 1 << _SHIFT
"""Pages in a chunk."""
_MASK: Final = _CHUNK - 1


class MemoryFile:
    """The bytes of a file in memory, shared by all handles that are open on it.

    Offsets and lengths are in bytes.  Where there is no room, or no memory, a change fails with
    BlockIOError (ENOSPC); what was there before is there still.

    :param room: where its pages count; one of its own if absent
    """

    __slots__ = (
        "__weakref__",
        *("_chunks", "_own", "_present", "_reserved", "_room", "length", "locks", "users"),
    )

    def __init__(self, room: Room | None = None) -> None:
        self._room = Room() if room is None else room
        self.users = 0
        """Handles that are open, and who else keeps it: its pages count as long as there are any.

        What is gone may be in memory a little longer, until the collector finds it.
        """
        self.length = 0
        self.locks: list[Locks] = []
        """What the handles that are open have locked."""
        self._chunks: dict[int, list[bytes]] = {}
        # Those of the chunks that no other file shares, and that may be written to.
        self._own: dict[int, list[bytes]] = {}
        # Pages that hold data.
        self._present = Ranges()
        # Pages that take storage but hold no data: preallocated, or zeroed in place.
        self._reserved = Ranges()

    @property
    def room(self) -> Room:
        """Where its pages count."""
        return self._room

    @room.setter
    def room(self, room: Room) -> None:
        if self.users:
            self._room.drop(self)
            room.add(self)
        self._room = room

    def hold(self) -> None:
        """Somebody more keeps it."""
        self.users += 1
        if self.users == 1:
            self._room.add(self)

    def let_go(self) -> None:
        """One of them does not keep it any more."""
        self.users -= 1
        if not self.users:
            self._room.drop(self)

    def allocated(self) -> int:
        """Bytes of all pages that are there or reserved."""
        return (self._present.total() + self._reserved.total()) * PAGE

    def pages(self) -> int:
        """How many pages hold data."""
        return self._present.total()

    def missing(self, first: int, last: int) -> int:
        """How many of the pages from `first` up to `last` hold no data."""
        runs = self._present.within(first, last)
        return last - first - sum(stop - start for start, stop in runs)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of an area; zeroes where there are none."""
        first, skipped = divmod(offset, PAGE)
        end = offset + length
        last = -(-end // PAGE)
        if last - first == 1:
            chunk = self._chunks.get(first >> _SHIFT)
            if chunk is None:
                return bytes(length)
            return chunk[first & _MASK][skipped : skipped + length]
        parts = self._pages(first, last)
        if parts and skipped:
            parts[0] = parts[0][skipped:]
        if parts and end % PAGE:
            parts[-1] = parts[-1][: end % PAGE]
        return b"".join(parts)

    def parts(self, offset: int, length: int) -> Sequence[bytes]:
        """What `read` returns, in pieces; pages are not copied."""
        if offset % PAGE or length % PAGE:
            return (self.read(offset, length),)
        first, count = offset // PAGE, length // PAGE
        start = first & _MASK
        chunk = self._chunks.get(first >> _SHIFT)
        if chunk is None or start + count > _CHUNK:
            return self._pages(first, first + count)
        return chunk[start : start + count]

    def _pages(self, first: int, last: int) -> list[bytes]:
        """The pages from `first` up to, not including, `last`."""
        pages: list[bytes] = []
        while first < last:
            chunk = self._chunks.get(first >> _SHIFT)
            start = first & _MASK
            count = min(_CHUNK - start, last - first)
            pages += [ZEROES] * count if chunk is None else chunk[start : start + count]
            first += count
        return pages

    def _page(self, number: int) -> bytes:
        chunk = self._chunks.get(number >> _SHIFT)
        return ZEROES if chunk is None else chunk[number & _MASK]

    def _writable(self, index: int) -> list[bytes]:
        """The chunk of a number, which is this file's alone from now on."""
        chunk = self._own.get(index)
        if chunk is None:
            shared = self._chunks.get(index)
            chunk = [ZEROES] * _CHUNK if shared is None else shared.copy()
            self._chunks[index] = self._own[index] = chunk
        return chunk

    def describe(self) -> dict[str, Any]:
        """Tell the length, and which pages hold data or are reserved, as runs of their numbers."""
        return {
            "length": self.length,
            "pages": [list(run) for run in self._present.runs()],
            "reserved": [list(run) for run in self._reserved.runs()],
        }

    def fork(self) -> MemoryFile:
        """Another file with the same bytes, and no locks; it costs little, whatever its size."""
        other = MemoryFile()
        other.length = self.length
        other._chunks = self._chunks.copy()
        self._own = {}
        other._present = self._present.copy()
        other._reserved = self._reserved.copy()
        return other

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data`; the file grows to hold it."""
        length = len(data)
        if not length:
            return
        end = offset + length
        first, before = divmod(offset, PAGE)
        last, after = divmod(end, PAGE)
        if length == PAGE and not before:
            left = self._room.left - 1
            if left < 0:
                self._room.take(self, first, last)
            else:
                self._room.left = left
            try:
                index = first >> _SHIFT
                chunk = self._own.get(index) or self._writable(index)
                page = shared(bytes(data))
                self._present.add(first, last)
            except MemoryError:
                raise BlockIOError(errno.ENOSPC) from None
            chunk[first & _MASK] = page
            if self._reserved.starts:
                self._reserved.remove(first, last)
            if end > self.length:
                self.length = end
            return
        try:
            if before or after:
                head = self._page(first)[:before]
                tail = self._page(last)[after:] if after else b""
                data = b"".join((head, data, tail))
                last += after > 0
            pages = cut(data)
        except MemoryError:
            raise BlockIOError(errno.ENOSPC) from None
        self._place(first, last, pages)
        if end > self.length:
            self.length = end

    def write_pages(self, offset: int, pages: Sequence[bytes]) -> None:
        """Write whole pages, which are not copied; `offset` is that of a page."""
        first = offset // PAGE
        self._place(first, first + len(pages), pages)
        self.length = max(self.length, offset + len(pages) * PAGE)

    def _place(self, first: int, last: int, pages: Sequence[bytes]) -> None:
        """Have these pages from `first` up to, not including, `last`."""
        left = self._room.left - (last - first)
        if left < 0:
            self._room.take(self, first, last)
        else:
            self._room.left = left
        index, place = first >> _SHIFT, first & _MASK
        try:
            if place + last - first <= _CHUNK:
                chunk = self._own.get(index) or self._writable(index)
                self._present.add(first, last)
                chunk[place : place + last - first] = pages
            else:
                self._place_in_several(first, last, pages)
        except MemoryError:
            raise BlockIOError(errno.ENOSPC) from None
        if self._reserved.starts:
            self._reserved.remove(first, last)

    def _place_in_several(self, first: int, last: int, pages: Sequence[bytes]) -> None:
        """The same, in chunks one after the other."""
        own = self._own
        for index in range(first >> _SHIFT, (last - 1 >> _SHIFT) + 1):
            if index not in own:
                self._writable(index)
        self._present.add(first, last)
        number = first
        while number < last:
            place = number & _MASK
            count = min(_CHUNK - place, last - number)
            done = number - first
            own[number >> _SHIFT][place : place + count] = pages[done : done + count]
            number += count

    def punch(self, offset: int, length: int) -> None:
        """Free the pages inside an area, and zero the parts of those at its ends."""
        end = offset + length
        first, last = -(-offset // PAGE), end // PAGE
        if first > last:
            self._blank(last, offset % PAGE, end % PAGE)
            return
        if offset % PAGE:
            self._blank(first - 1, offset % PAGE, PAGE)
        if end % PAGE:
            self._blank(last, 0, end % PAGE)
        self._drop(first, last)

    def reserve(self, offset: int, length: int) -> None:
        """Let every page of an area take storage; what it reads as does not change."""
        first, end = offset // PAGE, -(-(offset + length) // PAGE)
        self._reserved.add(first, end)
        for start, stop in self._present.within(first, end):
            self._reserved.remove(start, stop)

    def truncate(self, size: int) -> None:
        """Cut or extend the file to `size` bytes."""
        if size < self.length:
            self._drop(-(-size // PAGE), -(-self.length // PAGE))
            if size % PAGE:
                self._blank(size // PAGE, size % PAGE, PAGE)
        self.length = size

    def flush(self) -> None:
        """Do nothing: memory is as durable as it gets."""

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        present, until = self._present.run_at(offset // PAGE)
        if present and until is not None and offset + length <= min(until * PAGE, self.length):
            return True, length
        if offset >= self.length or until is None:
            return False, length
        end = min(until * PAGE, self.length) if present else until * PAGE
        return present, min(length, end - offset)

    def fill_map(self, found: Fills, length: int) -> None:
        """Add what `extent` tells."""
        origin = found.offset
        position, end = origin + found.length, origin + length
        starts: list[int] = []
        runs = self._present.within(position // PAGE, -(-end // PAGE))
        first = 0 if runs and runs[0][0] * PAGE <= position else 1
        for page, stop in runs:
            start = page * PAGE
            if start > position:
                starts.append(position - origin)
                position = start
            starts.append(position - origin)
            position = stop * PAGE
        if position < end:
            starts.append(position - origin)
        found.extend(starts, first, length)

    def _blank(self, number: int, start: int, stop: int) -> None:
        """Zero a part of a page, if there is data in the page."""
        if number >> _SHIFT in self._chunks:
            page = self._page(number)
            chunk = self._writable(number >> _SHIFT)
            chunk[number & _MASK] = page[:start] + bytes(stop - start) + page[stop:]

    def _drop(self, first: int, last: int) -> None:
        """Forget pages, which then take no storage."""
        present = self._present
        for start, stop in present.within(first, last):
            while start < stop:
                index, place = start >> _SHIFT, start & _MASK
                count = min(_CHUNK - place, stop - start)
                begin = index << _SHIFT
                if present.has_any(begin, first) or present.has_any(last, begin + _CHUNK):
                    self._writable(index)[place : place + count] = [ZEROES] * count
                elif self._chunks.pop(index, None) is not None:
                    self._own.pop(index, None)
                start += count
        present.remove(first, last)
        self._reserved.remove(first, last)
        self._room.freed()


def file_of(image: Image) -> MemoryFile:
    """A file in memory with the bytes of `image`, and its holes.

    :raises BlockIOError: it cannot be read
    """
    file = MemoryFile()
    offset, length = 0, image.length()
    while offset < length:
        is_data, size = image.extent(offset, min(length - offset, _COPY))
        if is_data:
            file.write(offset, image.pread(offset, size))
        offset += size
    file.truncate(length)
    return file

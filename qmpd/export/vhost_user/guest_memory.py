"""The memory that a vhost-user front-end shares.

What is in the way of a client that cuts its files off is in `qmpd.export.vhost_user.shared_file`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from qmpd.base import eventfd
from qmpd.export.vhost_user.protocol import MAX_SLOTS, Panic
from qmpd.export.vhost_user.shared_file import SharedFile

PAGE: Final = 4096
"""Bytes of guest memory for each bit of the log."""


@dataclass(slots=True, eq=False)
class Region:
    """An area of guest memory: its guest address, its address in the client, and its bytes."""

    start: int
    size: int
    user: int
    file: SharedFile

    @property
    def end(self) -> int:
        """The guest address after its end."""
        return self.start + self.size


class Area(NamedTuple):
    """A part of a region."""

    file: SharedFile
    place: int

    def read(self, offset: int, size: int) -> bytes:
        """See `SharedFile.read`."""
        return self.file.read(self.place + offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """See `SharedFile.write`."""
        self.file.write(self.place + offset, data)

    def load16(self, offset: int) -> int:
        """See `SharedFile.load16`."""
        return self.file.load16(self.place + offset)

    def store16(self, offset: int, value: int) -> None:
        """See `SharedFile.store16`."""
        self.file.store16(self.place + offset, value)

    def store_index(self, value: int) -> None:
        """See `SharedFile.store_index`."""
        self.file.store_index(self.place, value)


class GuestMemory:
    """The regions of memory that a client shares."""

    def __init__(self) -> None:
        self._regions: list[Region] = []
        self._fence = threading.Lock()
        self.log: DirtyLog | None = None
        self.log_fd: int | None = None
        """An eventfd that is signalled for every change of the log."""

    def add(self, region: tuple[int, int, int, int], fd: int) -> None:
        """Map a region.

        :param region: guest address, size, user address, offset in the file
        :raises Panic: it cannot be mapped, or lies over another one
        """
        start, size, user, offset = region
        if len(self._regions) == MAX_SLOTS:
            raise Panic(
                "failing attempt to hot add memory via VHOST_USER_ADD_MEM_REG message because"
                " the backend has no free ram slots available"
            )
        if any(start < other.end and other.start < start + size for other in self._regions):
            raise Panic("regions with overlapping guest physical addresses")
        try:
            file = SharedFile(fd, size, offset)
        except OverflowError:
            raise Panic("region mmap error: Cannot allocate memory") from None
        except ValueError:
            raise Panic("region mmap error: the file is too short") from None
        except OSError as error:
            raise Panic(f"region mmap error: {error.strerror}") from None
        self._regions.append(Region(start, size, user, file))

    def remove(self, start: int, size: int, user: int) -> None:
        """Unmap a region, which is not in use.

        :raises Panic: there is no such region
        """
        wanted = (start, size, user)
        found = [one for one in self._regions if (one.start, one.size, one.user) == wanted]
        if not found:
            raise Panic("Specified region not found")
        for region in found:
            self._regions.remove(region)
            region.file.close()

    def clear(self) -> None:
        """Unmap all regions."""
        while self._regions:
            self._regions.pop().file.close()

    def close(self) -> None:
        """Release everything."""
        self.clear()
        if self.log is not None:
            self.log.close()
            self.log = None
        if self.log_fd is not None:
            os.close(self.log_fd)
            self.log_fd = None

    def check(self) -> None:
        """Check that all files are still long enough.

        :raises Panic: one is not
        """
        for region in self._regions:
            region.file.check()

    def fence(self) -> None:
        """A memory barrier, by taking a lock: earlier writes are visible before later reads."""
        with self._fence:
            pass

    def at_user_address(self, user: int, length: int = 1) -> Area:
        """Memory at an address of the client, within one region.

        :raises Panic: the area is not within a region
        """
        for region in self._regions:
            begin = user - region.user
            if begin >= 0 and begin + length <= region.size:
                return Area(region.file, begin)
        raise Panic("Invalid vring_addr message")

    def pieces(self, address: int, length: int) -> Iterator[tuple[Region, int, int]]:
        """The parts of an area of guest addresses: region, place in it, and length.

        :raises Panic: some of it is in no region
        """
        while length:
            for region in self._regions:
                if region.start <= address < region.end:
                    break
            else:
                raise Panic("virtio: invalid address for buffers")
            size = min(length, region.end - address)
            yield region, address - region.start, size
            address, length = address + size, length - size

    def read(self, address: int, length: int) -> bytes:
        """Read guest memory.

        :raises Panic: some of it is in no region
        """
        parts = [
            region.file.read(place, size) for region, place, size in self.pieces(address, length)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Write guest memory.

        :raises Panic: some of it is in no region
        """
        self.mark(address, len(data))
        done = 0
        for region, place, size in self.pieces(address, len(data)):
            region.file.write(place, data[done : done + size])
            done += size

    def mark(self, address: int, length: int) -> None:
        """Mark guest memory as written in the log, if there is one.

        :raises Panic: the log is too short, or its eventfd cannot be signalled
        """
        if self.log is not None and self.log.mark(address, length) and self.log_fd is not None:
            try:
                eventfd.signal(self.log_fd)
            except OSError as error:
                raise Panic(f"Error writing eventfd: {error.strerror}") from None


class DirtyLog:
    """A bitmap of the pages that were written, for migration: one bit a page.

    :param fd: its file
    :raises OSError: it cannot be mapped
    :raises ValueError: the file is too short
    """

    def __init__(self, fd: int, size: int, offset: int) -> None:
        self._file = SharedFile(fd, size, offset)
        self._size = size
        self.enabled = False
        """Whether the client has the feature on: only then is anything logged."""

    def mark(self, address: int, length: int) -> bool:
        """Mark an area as written; returns whether logging is enabled.

        :raises Panic: the log is too short
        """
        if not self.enabled or not length:
            return False
        first, last = address // PAGE, (address + length - 1) // PAGE
        if last // 8 >= self._size:
            raise Panic("the log of dirty pages is too short")
        place = first // 8
        bits = int.from_bytes(self._file.read(place, last // 8 + 1 - place), "little")
        bits |= (1 << last - 8 * place + 1) - (1 << first - 8 * place)
        self._file.write(place, bits.to_bytes(last // 8 + 1 - place, "little"))
        return True

    def close(self) -> None:
        """Give it back."""
        self._file.close()

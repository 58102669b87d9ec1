"""The memory that a vhost-user front-end shares.

The client may do anything to its files, even truncate them; access beyond the end of a file would
kill the process, so the length is checked before each use.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmpd.export.vhost_user.protocol import MAX_SLOTS, Panic

PAGE: Final = 4096
"""Bytes of guest memory for each bit of the log."""


@dataclass(slots=True, eq=False)
class Region:
    """An area of guest memory.

    `start` is its guest address, `user` its address in the client, `position` its offset in `map`,
    and `needed` the length that the file must have, 0 for a device.
    """

    start: int
    size: int
    user: int
    map: mmap.mmap
    position: int
    needed: int

    @property
    def end(self) -> int:
        """The guest address after its end."""
        return self.start + self.size

    def check(self) -> None:
        """Check that its file is still long enough.

        :raises Panic: it is not
        """
        if self.needed and self.map.size() < self.needed:
            raise Panic("the file of a memory region got shorter")


def _map(fd: int, size: int, offset: int) -> tuple[mmap.mmap, int]:
    """Map a file; returns the mapping and the position of `offset` in it."""
    if not size or offset % mmap.PAGESIZE:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    try:
        return mmap.mmap(fd, size, offset=offset), 0
    except OSError as error:
        # large pages want an offset of their own multiple
        if error.errno != errno.EINVAL or not offset:
            raise
    return mmap.mmap(fd, size + offset), offset


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
            mapping, position = _map(fd, size, offset)
            needed = offset + size if stat.S_ISREG(os.fstat(fd).st_mode) else 0
        except OverflowError:
            raise Panic("region mmap error: Cannot allocate memory") from None
        except ValueError:
            raise Panic("region mmap error: the file is too short") from None
        except OSError as error:
            raise Panic(f"region mmap error: {error.strerror}") from None
        self._regions.append(Region(start, size, user, mapping, position, needed))

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
            region.map.close()

    def clear(self) -> None:
        """Unmap all regions."""
        while self._regions:
            self._regions.pop().map.close()

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
            region.check()

    def fence(self) -> None:
        """A memory barrier, by taking a lock: earlier writes are visible before later reads."""
        with self._fence:
            pass

    def at_user_address(self, user: int, length: int = 1) -> memoryview:
        """A view of memory at an address of the client, within one region.

        :raises Panic: the area is not within a region
        """
        for region in self._regions:
            begin = user - region.user
            if begin >= 0 and begin + length <= region.size:
                begin += region.position
                return memoryview(region.map)[begin : begin + length]
        raise Panic("Invalid vring_addr message")

    def pieces(self, address: int, length: int) -> Iterator[tuple[Region, int, int]]:
        """The parts of an area of guest addresses: region, place in its map, and length.

        :raises Panic: some of it is in no region, or its file was truncated
        """
        while length:
            for region in self._regions:
                if region.start <= address < region.end:
                    break
            else:
                raise Panic("virtio: invalid address for buffers")
            region.check()
            size = min(length, region.end - address)
            yield region, region.position + address - region.start, size
            address, length = address + size, length - size

    def read(self, address: int, length: int) -> bytes:
        """Read guest memory.

        :raises Panic: some of it is in no region
        """
        parts = [
            region.map[place : place + size] for region, place, size in self.pieces(address, length)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Write guest memory.

        :raises Panic: some of it is in no region
        """
        self.mark(address, len(data))
        done = 0
        for region, place, size in self.pieces(address, len(data)):
            region.map[place : place + size] = data[done : done + size]
            done += size

    def mark(self, address: int, length: int) -> None:
        """Mark guest memory as written in the log, if there is one.

        :raises Panic: the log is too short, or its eventfd cannot be signalled
        """
        if self.log is not None and self.log.mark(address, length) and self.log_fd is not None:
            try:
                os.eventfd_write(self.log_fd, 1)
            except BlockingIOError:
                pass
            except OSError as error:
                raise Panic(f"Error writing eventfd: {error.strerror}") from None


class DirtyLog:
    """A bitmap of the pages that were written, for migration: one bit a page.

    :param fd: its file
    :raises OSError: it cannot be mapped
    :raises ValueError: the file is too short
    """

    def __init__(self, fd: int, size: int, offset: int) -> None:
        self._map, self._position = _map(fd, size, offset)
        self._needed = size + offset
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
        if last // 8 >= self._size or self._map.size() < self._needed:
            raise Panic("the log of dirty pages is too short")
        for page in range(first, last + 1):
            self._map[self._position + page // 8] |= 1 << page % 8
        return True

    def close(self) -> None:
        """Unmap it."""
        self._map.close()

"""Writes of metadata that are held back, to be made all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.model.interface import DriverInterface
    from qmpd.block.model.node import Node


class HeldFile:
    """The file of an image as it will be: reads see what was written, the file does not.

    `clusters`: the contents of each cluster that was written to, by its index.
    `length`: that of the file when all is written.
    `discards`: offset and length of what was discarded.

    :param file: what is read where nothing was written
    :param cluster_size: of the image, bytes
    """

    def __init__(self, file: Node, cluster_size: int) -> None:
        self.clusters: dict[int, bytearray] = {}
        self.length = file.length
        self.discards: list[tuple[int, int]] = []
        self._file = file
        self._size = cluster_size

    @property
    def driver(self) -> DriverInterface[Node]:
        """The driver of the file's node."""
        return self._file.driver

    @property
    def request_alignment(self) -> int:
        """Of the file's node, bytes."""
        return self._file.request_alignment

    @property
    def read_only(self) -> bool:
        """Whether the file's node is."""
        return self._file.read_only

    async def pread(self, offset: int, length: int) -> bytes:
        """Read what will be there.

        :raises BlockIOError: the file cannot be read
        """
        size = self._size
        first, last = offset // size, (offset + length - 1) // size
        touched = [index for index in range(first, last + 1) if index in self.clusters]
        if not touched:
            return await self._file.pread(offset, length)
        data = bytearray()
        if len(touched) <= last - first:
            data += await self._file.pread(offset, length)
        else:
            data += bytes(length)
        for index in touched:
            low, high = max(offset, index * size), min(offset + length, (index + 1) * size)
            piece = self.clusters[index][low - index * size : high - index * size]
            data[low - offset : high - offset] = piece
        return bytes(data)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Keep what is to be written.

        :raises BlockIOError: what is around it cannot be read
        """
        size = self._size
        end = offset + len(data)
        for index in range(offset // size, -(-end // size)):
            low, high = max(offset, index * size), min(end, (index + 1) * size)
            if index not in self.clusters:
                whole = high - low == size
                old = b"" if whole else await self._file.pread(index * size, size)
                self.clusters[index] = bytearray(old.ljust(size, b"\0"))
            piece = data[low - offset : high - offset]
            self.clusters[index][low - index * size : high - index * size] = piece
        self.length = max(self.length, end)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Keep zeroes."""
        await self.pwrite(offset, bytes(length))

    async def pdiscard(self, offset: int, length: int) -> None:
        """Keep a discard."""
        self.discards.append((offset, length))

    async def flush(self) -> None:
        """Do nothing: all is written and flushed at the end."""

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Keep the length; what is written beyond it is dropped."""
        self.length = size
        for index in [index for index in self.clusters if index * self._size >= size]:
            del self.clusters[index]

"""Copy on read: what is read from below is kept in the node itself."""

from __future__ import annotations

from typing import Protocol

from qmpd.block.model.traits import Capabilities
from qmpd.errors import BlockIOError


class _Driver(Protocol):
    @property
    def capabilities(self) -> Capabilities: ...
    async def pread(self, offset: int, length: int) -> bytes: ...
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None: ...
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None: ...


class Copying(Protocol):
    """A node, as far as it is needed here."""

    length: int

    @property
    def active(self) -> bool: ...
    @property
    def driver(self) -> _Driver: ...
    def round_to_subclusters(self, offset: int, length: int) -> tuple[int, int]: ...
    def debug_event(self, name: str) -> None: ...
    async def is_allocated(self, offset: int, length: int) -> tuple[bool, int]: ...


async def read_copying(node: Copying, offset: int, length: int, *, prefetch: bool = False) -> bytes:
    """Read an area of `node`; what it has not got itself is written to it on the way.

    The disk stays what it was: dirty bitmaps are not marked.  An inactive node is not written.

    :param prefetch: only the writing matters; returns nothing
    :raises BlockIOError: reading or writing fails
    """
    if not node.active:
        return await node.driver.pread(offset, length)
    pieces: list[bytes] = []
    end = offset + length
    at, size = node.round_to_subclusters(offset, length)
    stop = min(at + size, node.length)
    while at < stop:
        allocated, count = await node.is_allocated(at, stop - at)
        if not count:
            break
        low, high = max(at, offset), min(at + count, end)
        if allocated:
            if not prefetch and low < high:
                pieces.append(await node.driver.pread(low, high - low))
        else:
            data = await _copy_up(node, at, count)
            if not prefetch and low < high:
                pieces.append(data[low - at : high - at])
        at += count
    if prefetch:
        return b""
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return data + bytes(length - len(data))


async def _copy_up(node: Copying, offset: int, length: int) -> bytes:
    data = await node.driver.pread(offset, length)
    node.debug_event("cor_write")
    if node.driver.capabilities.write_zeroes and data.count(0) == length:
        try:
            await node.driver.pwrite_zeroes(offset, length)
        except BlockIOError as error:
            if not error.is_unsupported:
                raise
        else:
            return data
    await node.driver.pwrite(offset, data)
    return data

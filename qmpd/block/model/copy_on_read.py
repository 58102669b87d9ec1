"""Copy on read: what is read from below is kept in the node itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


async def read_copying(node: Node, offset: int, length: int, *, prefetch: bool = False) -> bytes:
    """Read an area of `node`; what it has not got itself is written to it on the way.

    The disk stays what it was: dirty bitmaps are not marked.

    :param prefetch: only the writing matters; returns nothing
    :raises BlockIOError: reading or writing fails
    """
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


async def _copy_up(node: Node, offset: int, length: int) -> bytes:
    data = await node.driver.pread(offset, length)
    node.debug_event("cor_write")
    if node.driver.can_write_zeroes and data.count(0) == length:
        try:
            await node.driver.pwrite_zeroes(offset, length)
        except BlockIOError as error:
            if not error.is_unsupported:
                raise
        else:
            return data
    await node.driver.pwrite(offset, data)
    return data

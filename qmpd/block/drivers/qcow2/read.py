"""Reading the virtual disk, and telling where it reads as zeroes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2.compress import decompress
from qmpd.block.drivers.qcow2.entries import READS_AS_ZERO, UNALLOCATED, Subcluster
from qmpd.block.drivers.qcow2.mapping import get_host_offset

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.state import Qcow2State
    from qmpd.block.node import Node


async def read_clusters(s: Qcow2State, offset: int, length: int) -> bytes:
    """`length` bytes of the virtual disk from `offset` on.

    Beyond the disk's end this reads VM state; what is nowhere reads as zeroes.

    :raises BlockIOError: what a file failed with, EIO where the image is corrupt
    """
    parts: list[bytes] = []
    while length:
        if s.lock.locked:
            async with s.lock:
                kind, host, count = await get_host_offset(s, offset, length)
        else:
            kind, host, count = await get_host_offset(s, offset, length)
        if kind is Subcluster.NORMAL:
            s.event("read_aio")
            data = await s.data_file.pread(host, count)
        elif kind is Subcluster.COMPRESSED:
            data = await _read_compressed(s, host, offset, count)
        elif kind in UNALLOCATED and s.backing is not None:
            s.event("read_backing_aio")
            data = await _read_backing(s.backing, offset, count)
        else:
            data = bytes(count)
        if count == length and not parts:
            return data
        parts.append(data)
        offset += count
        length -= count
    return b"".join(parts)


async def _read_backing(backing: Node, offset: int, length: int) -> bytes:
    """Data of the backing node, zeroes behind its end."""
    inside = min(length, backing.length - offset)
    if inside <= 0:
        return bytes(length)
    data = await backing.pread(offset, inside)
    return data if inside == length else bytes(data).ljust(length, b"\0")


async def _read_compressed(s: Qcow2State, entry: int, offset: int, length: int) -> bytes:
    host, size = s.geometry.compressed_extent(entry)
    s.event("read_compressed")
    packed = await s.file.pread(host, size)
    cluster = decompress(s.header.compression_type, packed, s.geometry.cluster_size)
    start = s.geometry.offset_into_cluster(offset)
    return cluster[start : start + length]


async def is_zero_fast(s: Qcow2State, offset: int, length: int) -> bool:
    """Whether a range is known from metadata alone to read as zeroes."""
    while length > 0:
        kind, _, count = await get_host_offset(s, offset, length)
        if kind in UNALLOCATED:
            if not await _backing_zero_fast(s.backing, offset, count):
                return False
        elif kind not in READS_AS_ZERO:
            return False
        offset += count
        length -= count
    return True


async def _backing_zero_fast(backing: Node | None, offset: int, length: int) -> bool:
    if backing is None:
        return True
    length = min(length, backing.length - offset)
    if length <= 0:
        return True
    below = getattr(backing.driver, "state", None)
    return below is not None and await is_zero_fast(below, offset, length)


async def reads_as_zero(s: Qcow2State, offset: int, length: int) -> bool:
    """Whether a range reads as zeroes, as far as block status of the chain can tell.

    :param length: bytes; what lies behind the end of the disk counts as zero
    """
    length = min(length, s.size - offset)
    while length > 0:
        kind, _, count = await get_host_offset(s, offset, length)
        if kind in UNALLOCATED:
            if not await _backing_zero(s.backing, offset, count):
                return False
        elif kind not in READS_AS_ZERO:
            return False
        offset += count
        length -= count
    return True


async def _backing_zero(backing: Node | None, offset: int, length: int) -> bool:
    """Whether a range of a backing chain reads as zeroes; what is behind its end does."""
    end = offset + length
    while backing is not None and offset < end:
        status = await backing.block_status(offset, end - offset)
        if not status.length:
            return True
        if not status.zero:
            below = None if status.allocated or status.data else backing.backing
            if below is None or not await _backing_zero(below, offset, status.length):
                return False
        offset += status.length
    return True

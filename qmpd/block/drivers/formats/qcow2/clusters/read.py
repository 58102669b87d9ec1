"""Reading the virtual disk, and telling where it reads as zeroes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qmpd.block.drivers.formats.qcow2.clusters.compress import decompress
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_host_offset
from qmpd.block.drivers.formats.qcow2.tables.entries import READS_AS_ZERO, UNALLOCATED, Subcluster

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.model.node import Node


class Place(NamedTuple):
    """What decides on a range of a chain of images.

    :param level: the image it is stored in; None where no image has it
    :param kind: what it is there
    :param host: host offset, or the L2 entry of a compressed cluster
    :param length: bytes that this holds for
    :param other: the node below the last image of the chain, where that must decide
    """

    level: Qcow2State | None
    kind: Subcluster
    host: int
    length: int
    other: Node | None = None


async def locate(s: Qcow2State, offset: int, length: int) -> Place:
    """Walk down the chain of backing images to the one that has `offset`.

    This goes from image to image by itself, not through their nodes, so that a long
    chain costs no more than its L2 tables.
    """
    while True:
        if s.lock.locked:
            async with s.lock:
                kind, host, length = await get_host_offset(s, offset, length)
        else:
            kind, host, length = await get_host_offset(s, offset, length)
        if kind not in UNALLOCATED:
            return Place(s, kind, host, length)
        backing = s.backing
        if backing is None:
            return Place(None, kind, 0, length)
        s.event("read_backing_aio")
        inside = min(length, backing.length - offset)
        if inside <= 0:
            return Place(None, kind, 0, length)
        length = inside
        below = getattr(backing.driver, "state", None)
        if below is None or below.unusable:
            return Place(None, kind, 0, length, backing)
        s = below


async def read_clusters(s: Qcow2State, offset: int, length: int) -> bytes:
    """`length` bytes of the virtual disk from `offset` on.

    Beyond the disk's end this reads VM state; what is nowhere reads as zeroes.

    :raises BlockIOError: what a file failed with, EIO where the image is corrupt
    """
    parts: list[bytes] = []
    while length:
        place = await locate(s, offset, length)
        data = await _read_place(place, offset)
        if place.length == length and not parts:
            return data
        parts.append(data)
        offset += place.length
        length -= place.length
    return b"".join(parts)


async def _read_place(place: Place, offset: int) -> bytes:
    level, kind, host, length, other = place
    if other is not None:
        return await other.pread(offset, length)
    if level is None or kind in READS_AS_ZERO:
        return bytes(length)
    if kind is Subcluster.COMPRESSED:
        return await _read_compressed(level, host, offset, length)
    level.event("read_aio")
    return await level.data_file.pread(host, length)


async def _read_compressed(s: Qcow2State, entry: int, offset: int, length: int) -> bytes:
    host, size = s.geometry.compressed_extent(entry)
    s.event("read_compressed")
    packed = await s.file.pread(host, size)
    cluster = decompress(s.header.compression_type, packed, s.geometry.cluster_size)
    start = s.geometry.offset_into_cluster(offset)
    return cluster[start : start + length]


async def is_zero_fast(s: Qcow2State, offset: int, length: int) -> bool:
    """Whether a range is known from the images' metadata alone to read as zeroes."""
    while length > 0:
        place = await locate(s, offset, length)
        if place.other is not None:
            return False
        if place.level is not None and place.kind not in READS_AS_ZERO:
            return False
        offset += place.length
        length -= place.length
    return True


async def reads_as_zero(s: Qcow2State, offset: int, length: int) -> bool:
    """Whether a range reads as zeroes, as far as block status of the chain can tell.

    :param length: bytes; what lies behind the end of the disk counts as zero
    """
    length = min(length, s.size - offset)
    while length > 0:
        place = await locate(s, offset, length)
        if place.other is not None:
            if not await _node_reads_as_zero(place.other, offset, place.length):
                return False
        elif place.level is not None and place.kind not in READS_AS_ZERO:
            return False
        offset += place.length
        length -= place.length
    return True


async def _node_reads_as_zero(node: Node, offset: int, length: int) -> bool:
    """Whether a range of a node that is no qcow2 image, and what is below it, reads as zeroes."""
    end = offset + length
    while offset < end:
        status = await node.block_status(offset, end - offset)
        if not status.length:
            return True
        if not status.zero:
            below = None if status.allocated or status.data else node.filter_or_backing
            if below is None or not await _node_reads_as_zero(below, offset, status.length):
                return False
        offset += status.length
    return True

"""Reading the virtual disk, and finding out where it reads as zeroes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qmpd.block.drivers.formats.qcow2.clusters.compress import decompress
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_host_offset, without_table
from qmpd.block.drivers.formats.qcow2.clusters.preallocated import find_preallocation
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.drivers.formats.qcow2.tables.entries import READS_AS_ZERO, UNALLOCATED, Subcluster
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


async def read_clusters(s: Qcow2State, offset: int, length: int) -> bytes:
    """Read `length` bytes of the virtual disk from `offset`.

    Beyond the end of the disk this reads VM state; unallocated areas read as zeroes.

    :raises BlockIOError: an error of a file, or EIO if the image is corrupt
    """
    kind, host, count = await _look_up(s, offset, length)
    if count == length and kind not in UNALLOCATED:
        return await _read_here(s, kind, host, offset, length)
    return await _read_chain(s, offset, offset + length, kind, host, count)


async def _look_up(s: Qcow2State, offset: int, length: int) -> tuple[Subcluster, int, int]:
    if s.lock.locked:
        async with s.lock:
            return await get_host_offset(s, offset, length)
    return await get_host_offset(s, offset, length)


async def _read_here(s: Qcow2State, kind: Subcluster, host: int, offset: int, length: int) -> bytes:
    """Read an area of one type that is allocated in this image."""
    if kind in READS_AS_ZERO:
        return bytes(length)
    if kind is Subcluster.COMPRESSED:
        return await _read_compressed(s, host, offset, length)
    s.event("read_aio")
    return await s.data_file.pread(host, length)


async def _read_compressed(s: Qcow2State, entry: int, offset: int, length: int) -> bytes:
    host, size = s.geometry.compressed_extent(entry)
    s.event("read_compressed")
    packed = await s.file.pread(host, size)
    cluster = decompress(s.header.compression_type, packed, s.geometry.cluster_size)
    start = s.geometry.offset_into_cluster(offset)
    return cluster[start : start + length]


async def _read_chain(
    s: Qcow2State, offset: int, end: int, kind: Subcluster, host: int, count: int
) -> bytes:
    """Read `offset`..`end`, parts of which may come from different images of the chain.

    The requests and events are those of qcow2_co_preadv_part, which reads the backing node
    from within the read of the image.  Here the reads in progress are a list, so that a chain
    of hundreds of images does not need coroutines hundreds deep.

    :param kind: with `host` and `count`, the result of `_look_up` for `offset`
    """
    parts: list[bytes] = []
    above: list[tuple[Qcow2State, int, Node, int]] = []
    try:
        while True:
            if kind not in UNALLOCATED:
                parts.append(await _read_here(s, kind, host, offset, count))
                offset += count
            else:
                backing = s.backing
                inside = 0
                if backing is not None:
                    s.event("read_backing_aio")
                    inside = min(count, backing.length - offset)
                if backing is None or inside <= 0:
                    parts.append(bytes(count))
                    offset += count
                elif (below := _enter(backing)) is not None:
                    above.append((s, end, backing, count - inside))
                    s, end = below, offset + inside
                else:
                    parts.append(await backing.pread(offset, count))
                    offset += count
            while offset == end:
                if not above:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
                s, end, node, beyond = above.pop()
                node.request_ended()
                if beyond:
                    parts.append(bytes(beyond))
                    offset += beyond
            count = without_table(s, offset, end - offset)
            if count:
                kind = Subcluster.UNALLOCATED_PLAIN
            else:
                kind, host, count = await _look_up(s, offset, end - offset)
    finally:
        for _, _, node, _ in above:
            node.request_ended()


def _enter(node: Node) -> Qcow2State | None:
    """Begin a read of a backing node; None if its `pread` must be called instead."""
    image = node.driver.layer
    if isinstance(image, Qcow2State) and not image.unusable and node.begin_read():
        return image
    return None


class Place(NamedTuple):
    """The image of a chain that determines what an area reads as.

    :param level: the image in which it is allocated; None if there is none
    :param kind: its type there
    :param length: number of bytes that this applies to
    :param other: the node below the last image, if that one determines it
    """

    level: Qcow2State | None
    kind: Subcluster
    length: int
    other: Node | None = None


async def locate(s: Qcow2State, offset: int, length: int) -> Place:
    """Find the image of the chain that determines `offset`, without reading data.

    :raises BlockIOError: the metadata cannot be read, or are corrupt
    """
    while True:
        s.check_usable()
        if s.metadata_preallocation is None:
            async with s.lock:
                await find_preallocation(s)
        kind, _, length = await _look_up(s, offset, length)
        if kind not in UNALLOCATED:
            return Place(s, kind, length)
        backing = s.backing
        if backing is None:
            return Place(None, kind, length)
        inside = min(length, backing.length - offset)
        if inside <= 0:
            return Place(None, kind, length)
        length = inside
        below = backing.driver.layer
        if not isinstance(below, Qcow2State) or below.unusable:
            return Place(None, kind, length, backing)
        s = below


async def is_zero_fast(s: Qcow2State, offset: int, length: int) -> bool:
    """Whether the metadata of the images shows that a range reads as zeroes."""
    while length > 0:
        try:
            place = await locate(s, offset, length)
        except BlockIOError:
            return False
        if place.other is not None:
            return False
        if place.level is not None and place.kind not in READS_AS_ZERO:
            return False
        offset += place.length
        length -= place.length
    return True


async def reads_as_zero(s: Qcow2State, offset: int, length: int) -> bool:
    """Whether a range reads as zeroes according to block status of the chain.

    :param length: bytes; the area beyond the end of the disk counts as zero
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
    """The same for a node that is not a qcow2 image, and the chain below it."""
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

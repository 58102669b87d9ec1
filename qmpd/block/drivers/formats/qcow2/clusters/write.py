"""Writing the virtual disk: data first, then the L2 entries that refer to it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.clusters.allocate import alloc_host_offset
from qmpd.block.drivers.formats.qcow2.clusters.compress import compress
from qmpd.block.drivers.formats.qcow2.clusters.in_flight import PartsInFlight
from qmpd.block.drivers.formats.qcow2.clusters.link import link_metas, release
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_cluster_table
from qmpd.block.drivers.formats.qcow2.clusters.read import is_zero_fast
from qmpd.block.drivers.formats.qcow2.header.layout import (
    COMPRESSED_SECTOR,
    OFFSET_MASK,
    OFLAG_COMPRESSED,
)
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_bytes
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.tables.l2_meta import L2Meta
from qmpd.block.model.data import Piece
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def write_clusters(s: Qcow2State, offset: int, data: bytes | memoryview | Piece) -> None:
    """Write `data` at virtual `offset`, allocating and copying as needed.

    :param data: what is somewhere else yet is whole clusters, so that nothing is copied around it
    :raises BlockIOError: an error of a file, or EIO if the image is corrupt
    """
    if not len(data):
        return
    view = data if isinstance(data, Piece) else memoryview(data).cast("B")
    async with s.lock:
        host, count, metas = await _allocate(s, offset, len(view))
    if count < len(view):
        await _write_parts(s, host, offset, view, count, metas)
        return
    try:
        await _write_data(s, host, offset, view, metas)
    except BaseException:
        async with s.lock:
            await release(s, metas)
        raise
    if metas:
        async with s.lock:
            try:
                await link_metas(s, metas)
            finally:
                await release(s, metas)


async def _write_parts(
    s: Qcow2State, host: int, offset: int, data: memoryview | Piece, count: int, metas: list[L2Meta]
) -> None:
    """Write data whose host clusters are not all adjacent; the first `count` bytes have theirs."""
    parts = PartsInFlight(s)
    try:
        while True:
            first, data = _split(data, count)
            await parts.start(_write_data(s, host, offset, first, metas), metas)
            offset += count
            if not len(data) or parts.error is not None:
                break
            await parts.let_others()
            await s.node.services.loop.completions.rest()
            uses = s.table_uses
            async with s.lock:
                host, count, metas = await _allocate(s, offset, len(data), parts.finish)
            if s.table_uses != uses or parts.held_up:
                parts.time_passes()
    finally:
        await parts.finish()
    if parts.error is not None:
        raise parts.error


def _split(data: memoryview | Piece, at: int) -> tuple[memoryview | Piece, memoryview | Piece]:
    if isinstance(data, Piece):
        return data.part(0, at), data.part(at, len(data))
    return data[:at], data[at:]


async def _allocate(
    s: Qcow2State,
    offset: int,
    length: int,
    before_waiting: Callable[[], Awaitable[None]] | None = None,
) -> tuple[int, int, list[L2Meta]]:
    """`alloc_host_offset`, and the check that no metadata is there."""
    host, count, metas = await alloc_host_offset(s, offset, length, before_waiting)
    try:
        await pre_write_overlap_check(s, 0, host, count, data=True)
    except BlockIOError:
        await release(s, metas)
        raise
    return host, count, metas


async def _write_data(
    s: Qcow2State, host: int, offset: int, data: memoryview | Piece, metas: list[L2Meta]
) -> None:
    """Write data to its adjacent host clusters, unless copies around it are written with it."""
    if metas:
        await _zero_new_space(s, metas)
    if isinstance(data, Piece):
        await data.write_to(s.data_file, host)
    elif not _merge_cow(offset, data, metas):
        s.event("write_aio")
        await s.data_file.pwrite(host, data)


async def _zero_new_space(s: Qcow2State, metas: list[L2Meta]) -> None:
    """If everything around the data reads as zeroes, have the file zero it (handle_alloc_space)."""
    if not s.data_file.driver.capabilities.write_zeroes:
        return
    for meta in metas:
        if not meta.has_cow:
            continue
        head = meta.offset + meta.cow_start, meta.data_start - meta.cow_start
        tail = meta.offset + meta.data_end, meta.cow_end - meta.data_end
        if not (await is_zero_fast(s, *head) and await is_zero_fast(s, *tail)):
            continue
        start = meta.alloc_offset + meta.cow_start
        length = meta.cow_end - meta.cow_start
        await pre_write_overlap_check(s, 0, start, length, data=True)
        s.event("cluster_alloc_space")
        try:
            await s.data_file.pwrite_zeroes(start, length, no_fallback=True)
        except BlockIOError as error:
            if error.errno not in (errno.ENOTSUP, errno.EAGAIN):
                raise
            continue
        meta.skip_cow = True


def _merge_cow(offset: int, data: memoryview, metas: list[L2Meta]) -> bool:
    """Whether the data is written together with the copied regions around it (merge_cow)."""
    for meta in metas:
        if not meta.has_cow or meta.skip_cow:
            continue
        if meta.offset + meta.data_start != offset:
            continue
        if meta.offset + meta.data_end != offset + len(data):
            continue
        meta.data = data
        return True
    return False


async def _alloc_compressed(s: Qcow2State, offset: int, size: int) -> int:
    """Host offset for `size` bytes of compressed data of the cluster at virtual `offset`.

    :raises BlockIOError: EIO, something is allocated there already
    """
    table, index = await get_cluster_table(s, offset)
    position = index * 2 if s.geometry.extended_l2 else index
    try:
        if table.data[position] & OFFSET_MASK:
            raise BlockIOError(errno.EIO)
        host = await alloc_bytes(s, size)
        sectors = (host + size - 1) // COMPRESSED_SECTOR - host // COMPRESSED_SECTOR
        s.event("l2_update_compressed")
        table.data[position] = host | OFLAG_COMPRESSED | sectors << s.geometry.csize_shift
        if s.geometry.extended_l2:
            table.data[position + 1] = 0
        table.dirty = True
        return host
    finally:
        s.l2_cache.put(table)


async def write_compressed(s: Qcow2State, offset: int, data: bytes | memoryview) -> None:
    """Write whole clusters compressed; incompressible ones are written as they are.

    :param offset: virtual offset, multiple of the cluster size
    :param data: whole clusters, except at the end of the disk
    :raises BlockIOError: ENOTSUP with a data file, EINVAL if not aligned, EIO if
        something is allocated already
    """
    if s.has_data_file:
        raise BlockIOError(errno.ENOTSUP)
    size = s.geometry.cluster_size
    if offset % size or (len(data) % size and offset + len(data) != s.size):
        raise BlockIOError(errno.EINVAL)
    view = memoryview(data)
    for start in range(0, len(view), size):
        cluster = view[start : start + size]
        await s.node.services.loop.completions.rest()
        packed = compress(s.header.compression_type, bytes(cluster).ljust(size, b"\0"))
        if packed is None:
            await write_clusters(s, offset + start, cluster)
            continue
        async with s.lock:
            host = await _alloc_compressed(s, offset + start, len(packed))
            await pre_write_overlap_check(s, 0, host, len(packed), data=True)
        s.event("write_compressed")
        await s.data_file.pwrite(host, packed)

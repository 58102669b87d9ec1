"""Discarding and zeroing clusters by changing their L2 entries."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_cluster_table, get_host_offset
from qmpd.block.drivers.formats.qcow2.clusters.read import reads_as_zero
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters
from qmpd.block.drivers.formats.qcow2.header.layout import ALL_ZEROES, OFFSET_MASK, OFLAG_ZERO
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import free_any_cluster, pass_discard
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard, process_discards
from qmpd.block.drivers.formats.qcow2.tables.entries import (
    ALLOCATED_CLUSTERS,
    READS_AS_ZERO,
    UNALLOCATED,
    Cluster,
    alloc_range,
    zero_range,
)
from qmpd.errors import BlockIOError

_BOUNCE = 16 << 20
"""Zeroes that are written as data at once, in bytes."""

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.cache import Table


def split(offset: int, length: int, alignment: int) -> Iterator[tuple[int, int]]:
    """Split a request like bdrv_co_pdiscard: partial head, aligned middle, partial tail.

    :returns: offset and length of each piece
    """
    end = offset + length
    while offset < end:
        if offset % alignment:
            stop = min(end, offset - offset % alignment + alignment)
        elif end - offset > alignment:
            stop = end - end % alignment
        else:
            stop = end
        yield offset, stop - offset
        offset = stop


async def discard(s: Qcow2State, offset: int, length: int) -> None:
    """Discard the whole clusters of any range."""
    for start, count in split(offset, length, s.geometry.cluster_size):
        s.check_usable()
        try:
            await pdiscard(s, start, count)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP:
                raise


async def write_zeroes(
    s: Qcow2State, offset: int, length: int, *, may_unmap: bool, as_data: bool = True
) -> None:
    """Write zeroes to any range, as data where metadata cannot express it.

    If the image turns out to be corrupt meanwhile, only what is written as data fails (as in QEMU).

    :param as_data: whether it may be so
    :raises BlockIOError: ENOTSUP where it may not
    """
    for start, count in split(offset, length, s.geometry.subcluster_size):
        try:
            await pwrite_zeroes(s, start, count, may_unmap=may_unmap)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP or not as_data:
                raise
            for position in range(start, start + count, _BOUNCE):
                s.check_usable()
                piece = min(_BOUNCE, start + count - position)
                await write_clusters(s, position, bytes(piece))


async def pdiscard(s: Qcow2State, offset: int, length: int) -> None:
    """Discard whole clusters of the disk (or the partial one at its end).

    :raises BlockIOError: ENOTSUP for a partial cluster, and in a v2 image with a backing file
    """
    if s.header.version < 3 and s.backing is not None:
        raise BlockIOError(errno.ENOTSUP)
    mask = s.geometry.cluster_size - 1
    if (offset | length) & mask and (offset & mask or offset + length != s.size):
        raise BlockIOError(errno.ENOTSUP)
    async with s.lock:
        await cluster_discard(s, offset, length, Discard.REQUEST, full=False)


async def cluster_discard(
    s: Qcow2State, offset: int, length: int, kind: Discard, *, full: bool
) -> None:
    """Remove clusters from the L2 tables and drop their references (qcow2_cluster_discard).

    :param offset: virtual, start of a cluster
    :param full: let the backing file show through instead of zeroes
    """
    count = s.geometry.clusters(length)
    succeeded = False
    s.cache_discards = True
    try:
        while count > 0:
            done = await _discard_in_slice(s, offset, count, kind, full=full)
            count -= done
            offset += done << s.geometry.cluster_bits
            await s.node.services.loop.completions.rest()
        succeeded = True
    finally:
        s.cache_discards = False
        await process_discards(s, succeeded)


def _discarded(
    s: Qcow2State, entry: int, bitmap: int, cluster: Cluster, *, full: bool, keep: bool
) -> tuple[int, int]:
    """The L2 entry and bitmap that a discarded cluster gets."""
    if full:
        return 0, 0
    if s.backing is None and cluster not in ALLOCATED_CLUSTERS:
        return entry, bitmap
    if s.geometry.extended_l2:
        return (entry if keep else 0), ALL_ZEROES
    if s.header.version < 3:
        return 0, bitmap
    return (entry | OFLAG_ZERO if keep else OFLAG_ZERO), bitmap


async def _discard_in_slice(
    s: Qcow2State, offset: int, count: int, kind: Discard, *, full: bool
) -> int:
    """Discard up to `count` clusters of one L2 slice; returns how many it covered."""
    extended = s.geometry.extended_l2
    table, index = await get_cluster_table(s, offset)
    try:
        count = min(count, s.l2_slice_size - index)
        width = 2 if extended else 1
        whole = range(index * width, (index + count) * width, width)
        places: Iterable[int] = whole
        if full or s.backing is None:
            # most of a disk is holes, which stay as they are
            places = _filled(table.data, whole)
        for at in places:
            entry = table.data[at]
            bitmap = table.data[at + 1] if extended else 0
            cluster = s.rules.cluster_type(entry)
            keep = (
                not full
                and cluster is not Cluster.COMPRESSED
                and s.options.discard_no_unref
                and kind is Discard.REQUEST
            )
            new = _discarded(s, entry, bitmap, cluster, full=full, keep=keep)
            if new != (entry, bitmap):
                _set(table, at, new, extended=extended)
                await _drop(s, entry, cluster, kind, keep=keep)
    finally:
        s.l2_cache.put(table)
    return count


def _filled(entries: array[int], places: range) -> list[int]:
    """Those of the places whose entries, bitmaps included, are not empty."""
    width = places.step
    found = entries[places.start : places.stop]
    if not any(found):
        return []
    return [at for at in places if any(entries[at : at + width])]


def _set(table: Table, at: int, new: tuple[int, int], *, extended: bool) -> None:
    table.dirty = True
    table.data[at] = new[0]
    if extended:
        table.data[at + 1] = new[1]


async def _drop(s: Qcow2State, entry: int, cluster: Cluster, kind: Discard, *, keep: bool) -> None:
    """Drop the reference of a replaced entry, or only pass on the discard if it is kept."""
    if not keep:
        await free_any_cluster(s, entry, kind)
    elif s.options.discard_passthrough[kind] and cluster in (Cluster.NORMAL, Cluster.ZERO_ALLOC):
        await pass_discard(s, entry & OFFSET_MASK)


async def _zero_in_slice(s: Qcow2State, offset: int, count: int, *, may_unmap: bool) -> int:
    """Zero up to `count` clusters of one L2 slice; returns how many it covered."""
    extended = s.geometry.extended_l2
    table, index = await get_cluster_table(s, offset)
    try:
        count = min(count, s.l2_slice_size - index)
        for position in range(index, index + count):
            at = position * 2 if extended else position
            entry = table.data[at]
            bitmap = table.data[at + 1] if extended else 0
            cluster = s.rules.cluster_type(entry)
            unmap = cluster is Cluster.COMPRESSED or (may_unmap and cluster in ALLOCATED_CLUSTERS)
            keep = s.options.discard_no_unref and cluster is not Cluster.COMPRESSED
            new_entry = 0 if unmap and not keep else entry
            if extended:
                new = (new_entry, ALL_ZEROES)
            else:
                new = (new_entry | OFLAG_ZERO, bitmap)
            if new == (entry, bitmap):
                continue
            _set(table, at, new, extended=extended)
            if unmap:
                await _drop(s, entry, cluster, Discard.REQUEST, keep=keep)
    finally:
        s.l2_cache.put(table)
    return count


async def _zero_subclusters(s: Qcow2State, offset: int, count: int) -> None:
    """Zero `count` subclusters of one cluster.

    :raises BlockIOError: ENOTSUP, the cluster is compressed
    """
    table, index = await get_cluster_table(s, offset)
    try:
        if s.rules.cluster_type(table.data[2 * index]) is Cluster.COMPRESSED:
            raise BlockIOError(errno.ENOTSUP)
        first = s.geometry.sc_index(offset)
        old = table.data[2 * index + 1]
        new = (old | zero_range(first, first + count)) & ~alloc_range(first, first + count)
        if new != old:
            table.data[2 * index + 1] = new
            table.dirty = True
    finally:
        s.l2_cache.put(table)


async def zeroize(s: Qcow2State, offset: int, length: int, *, may_unmap: bool) -> None:
    """Zero whole subclusters; call with the lock held (qcow2_subcluster_zeroize).

    :param offset: virtual, start of a subcluster; so is the end, except at the end of the disk
    :param may_unmap: their clusters may be freed
    :raises BlockIOError: ENOTSUP in a v2 image with a backing file
    """
    if s.data_file_raw:
        await s.data_file.pwrite_zeroes(offset, length, may_unmap=may_unmap)
    if s.header.version < 3:
        if s.backing is None:
            await cluster_discard(s, offset, length, Discard.REQUEST, full=False)
            return
        raise BlockIOError(errno.ENOTSUP)
    geometry = s.geometry
    end = offset + length
    head = min(end, geometry.round_up(offset)) - offset
    tail = 0
    if end < s.size:
        tail = end - max(offset + head, geometry.start_of_cluster(end))
    succeeded = False
    s.cache_discards = True
    try:
        if head:
            await _zero_subclusters(s, offset, -(-head // geometry.subcluster_size))
        offset += head
        count = geometry.clusters(end - tail - offset)
        while count > 0:
            done = await _zero_in_slice(s, offset, count, may_unmap=may_unmap)
            count -= done
            offset += done << geometry.cluster_bits
            await s.node.services.loop.completions.rest()
        if tail:
            await _zero_subclusters(s, end - tail, -(-tail // geometry.subcluster_size))
        succeeded = True
    finally:
        s.cache_discards = False
        await process_discards(s, succeeded)


async def pwrite_zeroes(s: Qcow2State, offset: int, length: int, *, may_unmap: bool) -> None:
    """Write zeroes by metadata: whole subclusters, or part of one if the rest is zero, too.

    :raises BlockIOError: ENOTSUP if data must be written instead
    """
    size = s.geometry.subcluster_size
    head = offset % size
    tail = -(offset + length) % size if offset + length != s.size else 0
    if not head and not tail:
        async with s.lock:
            await zeroize(s, offset, length, may_unmap=may_unmap)
        return
    try:
        zero = await reads_as_zero(s, offset - head, head)
        zero = zero and await reads_as_zero(s, offset + length, tail)
    except BlockIOError:
        zero = False
    if not zero:
        raise BlockIOError(errno.ENOTSUP)
    async with s.lock:
        try:
            kind, _, _ = await get_host_offset(s, offset - head, size)
        except BlockIOError as error:
            raise BlockIOError(errno.ENOTSUP) from error
        if kind not in UNALLOCATED and kind not in READS_AS_ZERO:
            raise BlockIOError(errno.ENOTSUP)
        await zeroize(s, offset - head, size, may_unmap=may_unmap)

"""Counting all references in an image and repairing its refcounts (qcow2_check_refcounts)."""

from __future__ import annotations

import errno
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.bitmaps.directory import TABLE_OFFSET_MASK, load_directory
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    OFFSET_MASK,
    OFLAG_COPIED,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import TryAgain, update_refcount
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard, get_refcount
from qmpd.block.drivers.formats.qcow2.repair.rebuild import must_rebuild, rebuild
from qmpd.block.drivers.formats.qcow2.tables.cache import decode_entries, encode_entries
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


@dataclass(slots=True)
class CheckResult:
    """What a check found and repaired.

    :param corruptions: wrong entries and refcounts that are too low
    :param leaks: clusters whose refcount is too high
    :param check_errors: what could not be checked or repaired
    """

    corruptions: int = 0
    leaks: int = 0
    check_errors: int = 0
    corruptions_fixed: int = 0
    leaks_fixed: int = 0


class ReferenceCounter:
    """References to each cluster of the file, found by walking the metadata."""

    def __init__(self, s: Qcow2State, result: CheckResult) -> None:
        self._s = s
        self._result = result
        self._file_size = s.file.length
        # A region may end in the middle of the cluster behind the end of the file.
        self.counts = array("Q", bytes(8 * (s.geometry.clusters(self._file_size) + 1)))

    async def count_all(self) -> None:
        """Count everything that is reachable from the header."""
        s = self._s
        header = s.header
        self.add(0, s.geometry.cluster_size)
        await self._count_l1(s.l1, header.l1_table_offset)
        for snapshot in s.snapshots:
            raw = await s.file.pread(snapshot.l1_table_offset, snapshot.l1_size * ENTRY_SIZE)
            await self._count_l1(decode_entries(raw), snapshot.l1_table_offset)
        self.add(header.snapshots_offset, s.snapshots_size)
        self.add(header.refcount_table_offset, len(s.refcount_table) * ENTRY_SIZE)
        for entry in s.refcount_table:
            if entry & REFT_OFFSET_MASK:
                self.add(entry & REFT_OFFSET_MASK, s.geometry.cluster_size)
        await self._count_bitmaps()

    def add(self, offset: int, size: int) -> None:
        """Count one reference to each cluster of a range of the file."""
        if size <= 0:
            return
        geometry = self._s.geometry
        first = offset >> geometry.cluster_bits
        last = (offset + size - 1) >> geometry.cluster_bits
        if offset + size - self._file_size > geometry.cluster_size or last >= len(self.counts):
            self._result.corruptions += 1
            return
        for index in range(first, last + 1):
            self.counts[index] += 1

    async def _count_l1(self, l1: array[int], offset: int) -> None:
        s = self._s
        if not l1:
            return
        self.add(offset, len(l1) * ENTRY_SIZE)
        for entry in l1:
            l2_offset = entry & OFFSET_MASK
            if not l2_offset:
                continue
            if s.geometry.offset_into_cluster(l2_offset):
                self._result.corruptions += 1
                continue
            self.add(l2_offset, s.geometry.cluster_size)
            await self._count_l2(l2_offset)

    async def _count_l2(self, l2_offset: int) -> None:
        s = self._s
        geometry = s.geometry
        width = geometry.l2_entry_size // ENTRY_SIZE
        step = s.l2_slice_size * geometry.l2_entry_size
        for start in range(0, geometry.cluster_size, step):
            table = await s.l2_cache.get(l2_offset + start)
            for entry in table.data[::width]:
                if entry & ~OFLAG_COPIED:
                    self._count_entry(entry)
            s.l2_cache.put(table)

    def _count_entry(self, entry: int) -> None:
        s = self._s
        kind = s.rules.cluster_type(entry)
        if s.has_data_file:
            if kind is Cluster.COMPRESSED:
                self._result.corruptions += 1
            return
        if kind is Cluster.COMPRESSED:
            self.add(*s.geometry.compressed_extent(entry))
        elif kind in (Cluster.NORMAL, Cluster.ZERO_ALLOC):
            offset = entry & OFFSET_MASK
            if s.geometry.offset_into_cluster(offset):
                self._result.corruptions += 1
            else:
                self.add(offset, s.geometry.cluster_size)

    async def _count_bitmaps(self) -> None:
        s = self._s
        if s.header.bitmaps is None:
            return
        self.add(s.header.bitmaps.directory_offset, s.header.bitmaps.directory_size)
        try:
            entries = await load_directory(s)
        except QmpError:
            self._result.corruptions += 1
            raise
        for entry in entries:
            size = entry.table_size * ENTRY_SIZE
            self.add(entry.table_offset, size)
            for item in decode_entries(await s.file.pread(entry.table_offset, size)):
                if item & TABLE_OFFSET_MASK:
                    self.add(item & TABLE_OFFSET_MASK, s.geometry.cluster_size)


async def check(s: Qcow2State, *, fix: bool) -> CheckResult:
    """Compare all refcounts with the references; repair them if `fix` is set.

    :raises BlockIOError: the metadata cannot be read
    """
    result = CheckResult()
    counter = ReferenceCounter(s, result)
    await counter.count_all()
    if fix and await must_rebuild(s):
        await rebuild(s, counter.counts)
        result = CheckResult(corruptions_fixed=1)
        counter = ReferenceCounter(s, result)
        await counter.count_all()
    await _compare(s, counter.counts, result, fix=fix)
    await _check_copied(s, result, fix=fix)
    return result


async def _compare(s: Qcow2State, counts: array[int], result: CheckResult, *, fix: bool) -> None:
    for index, wanted in enumerate(counts):
        found = await get_refcount(s, index)
        if found == wanted:
            continue
        leak = found > wanted
        if not fix:
            result.leaks += leak
            result.corruptions += not leak
            continue
        try:
            await _set_refcount(s, index, wanted - found)
        except BlockIOError:
            result.check_errors += 1
            continue
        result.leaks_fixed += leak
        result.corruptions_fixed += not leak


async def _set_refcount(s: Qcow2State, cluster_index: int, addend: int) -> None:
    offset = cluster_index << s.geometry.cluster_bits
    for _ in range(4):
        try:
            await update_refcount(s, offset, 1, addend, Discard.ALWAYS)
        except TryAgain:
            continue
        return
    raise BlockIOError(errno.EIO)


async def _check_copied(s: Qcow2State, result: CheckResult, *, fix: bool) -> None:
    """Compare the copied flags of the active tables with the refcounts."""
    changed = False
    for index, entry in enumerate(s.l1):
        l2_offset = entry & OFFSET_MASK
        if not l2_offset or s.geometry.offset_into_cluster(l2_offset):
            continue
        alone = await get_refcount(s, l2_offset >> s.geometry.cluster_bits) == 1
        if alone != bool(entry & OFLAG_COPIED):
            _note(result, fix=fix)
            if fix:
                s.set_l1_entry(index, l2_offset | (OFLAG_COPIED if alone else 0))
                changed = True
        await _check_copied_l2(s, l2_offset, result, fix=fix)
    if changed:
        await s.flush_caches()
        await s.pwrite_sync(s.header.l1_table_offset, encode_entries(s.l1))


def _note(result: CheckResult, *, fix: bool) -> None:
    if fix:
        result.corruptions_fixed += 1
    else:
        result.corruptions += 1


async def _check_copied_l2(
    s: Qcow2State, l2_offset: int, result: CheckResult, *, fix: bool
) -> None:
    geometry = s.geometry
    width = geometry.l2_entry_size // ENTRY_SIZE
    step = s.l2_slice_size * geometry.l2_entry_size
    for start in range(0, geometry.cluster_size, step):
        table = await s.l2_cache.get(l2_offset + start)
        try:
            for at in range(0, len(table.data), width):
                entry = table.data[at]
                kind = s.rules.cluster_type(entry)
                if kind not in (Cluster.NORMAL, Cluster.ZERO_ALLOC):
                    continue
                host = entry & OFFSET_MASK
                alone = s.has_data_file or (
                    await get_refcount(s, host >> geometry.cluster_bits) == 1
                )
                if alone == bool(entry & OFLAG_COPIED):
                    continue
                _note(result, fix=fix)
                if fix:
                    table.data[at] = entry ^ OFLAG_COPIED
                    table.dirty = True
        finally:
            s.l2_cache.put(table)


async def repair_dirty(s: Qcow2State) -> None:
    """Repair an image that was not closed cleanly with lazy refcounts, and clear its dirty bit.

    :raises BlockIOError: it failed; with QEMU's text
    """
    try:
        result = await check(s, fix=True)
        if result.check_errors:
            raise BlockIOError(errno.EIO)
        if not result.corruptions:
            await s.mark_clean()
            await s.mark_consistent()
    except QmpError as error:
        number = error.errno if isinstance(error, BlockIOError) else errno.EINVAL
        text = f"Could not repair dirty image: {BlockIOError(number).desc}"
        raise BlockIOError(number, text) from error

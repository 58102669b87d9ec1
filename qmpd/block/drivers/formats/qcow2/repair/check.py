"""Checking an image against its references, and repairing it (qcow2_co_check)."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from heapq import merge
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.clusters.mapping import write_l1_entry
from qmpd.block.drivers.formats.qcow2.header.layout import (
    OFFSET_MASK,
    OFLAG_COPIED,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.options import ACTIVE_L2
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import update_refcount
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard, get_refcount
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.repair.counted import Counts
from qmpd.block.drivers.formats.qcow2.repair.rebuild import rebuild
from qmpd.block.drivers.formats.qcow2.repair.references import ReferenceCounter
from qmpd.block.drivers.formats.qcow2.repair.result import CheckResult, say, verb
from qmpd.block.drivers.formats.qcow2.snapshots.table import write_snapshots
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster
from qmpd.block.drivers.formats.qcow2.tables.long import decode_long, pieces
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

log = logging.getLogger("qmpd.block.qcow2")

LEAST_EXTRA = 16
"""Bytes of extra data that the entries of snapshot tables have from version 3 on."""

MOST_TOLD: Final = 1 << 12
"""Clusters of blocks that cannot be read that are told one by one: a table of 8 MiB names 2^35."""

AT_A_TIME: Final = 256
"""Clusters and entries that are looked at before others may have their turn."""

MOST_FOUND: Final = 1 << 20
"""Wrong clusters after which structures are made anew, whatever else is wrong with them."""


async def check(s: Qcow2State, *, fix: bool) -> CheckResult:
    """Compare all refcounts and flags with the references, and say what is wrong.

    :param fix: repair leaks and errors
    :raises QmpError: the metadata cannot be read
    """
    await s.l2_cache.write()
    short = _short_snapshots(s, fix=fix)
    result = await _check_refcounts(s, fix=fix)
    if short and fix:
        try:
            await write_snapshots(s, s.snapshots)
        except BlockIOError as error:
            say(s, f"ERROR failed to update snapshot table: {error.desc}")
            result.check_errors += 1
            result.corruptions += short
            raise
    else:
        result.corruptions += short
    if fix and not result.check_errors and not result.corruptions:
        await s.mark_clean()
        await s.mark_consistent()
    return result


def _short_snapshots(s: Qcow2State, *, fix: bool) -> int:
    """How many entries of the snapshot table lack what version 3 has there."""
    if s.header.version < 3:
        return 0
    short = [i for i, one in enumerate(s.snapshots) if one.extra_data_size < LEAST_EXTRA]
    for index in short:
        say(s, f"{verb(fix=fix)} snapshot table entry {index} is incomplete")
    return len(short)


async def _check_refcounts(s: Qcow2State, *, fix: bool) -> CheckResult:
    result = CheckResult()
    counter = ReferenceCounter(s, result, fix=fix)
    await counter.count_all()
    before = result.copy()
    must_rebuild = await _compare(s, counter.counts, result, fix=False) or counter.rebuild
    if must_rebuild and fix:
        await _rebuild(s, counter, result)
    elif fix and (result.leaks or result.corruptions):
        result = before
        await _compare(s, counter.counts, result, fix=True)
    await _check_copied(s, result, fix=fix)
    return result


async def _rebuild(s: Qcow2State, counter: ReferenceCounter, result: CheckResult) -> None:
    """Make new refcount structures, and free what the old ones have leaked."""
    say(s, "Rebuilding refcount structure")
    try:
        await rebuild(s, counter)
    except BlockIOError as error:
        log.error("%s", error.desc)
        raise
    result.corruptions = result.leaks = 0
    again = ReferenceCounter(s, result, fix=False)
    again.reach(len(counter.counts))
    await again.count_all()
    fresh = CheckResult()
    if await _compare(s, again.counts, fresh, fix=True, errors=False) or again.rebuild:
        say(s, "ERROR rebuilt refcount structure is still broken")
    result.leaks += fresh.leaks


async def _compare(
    s: Qcow2State, counts: Counts, result: CheckResult, *, fix: bool, errors: bool = True
) -> bool:
    """Compare refcounts with references (compare_refcounts).

    :param fix: repair leaks, and with `errors` what is too low
    :returns: whether some cluster that is used is not counted: the structures must be made anew
    """
    must_rebuild = False
    errors_before = result.check_errors
    most = result.found + MOST_FOUND
    for number in _pages(s, counts):
        await s.rest()
        first = number * counts.page_size
        end = min(first + counts.page_size, len(counts))
        if await _is_same(s, first, end, counts.page(number)):
            continue
        if result.check_errors - errors_before >= MOST_TOLD and not await _is_readable(s, first):
            result.check_errors += end - first
            continue
        if result.found >= most and not fix:
            say(s, f"ERROR refcounts are not compared from cluster {first} on: too many are wrong")
            return True
        for index in range(first, end):
            if not index % AT_A_TIME:
                await s.rest()
            again = await _compare_one(s, index, counts[index], result, fix=fix, errors=errors)
            must_rebuild = must_rebuild or again
    return must_rebuild


def _pages(s: Qcow2State, counts: Counts) -> Iterator[int]:
    """Where there is something to compare: references, or refcount blocks."""
    each = s.geometry.refcount_block_size // counts.page_size
    last = -1
    blocks = (index for index, entry in enumerate(s.refcount_table) if entry)
    counted = (page for block in blocks for page in range(block * each, (block + 1) * each))
    for number in merge(counted, counts.pages()):
        if number * counts.page_size >= len(counts):
            return
        if number != last:
            yield number
        last = number


async def _is_same(s: Qcow2State, first: int, end: int, wanted: list[int] | None) -> bool:
    """Whether clusters `first` to `end` - 1, all of one block, have the refcounts `wanted`."""
    geometry = s.geometry
    index = first >> geometry.refcount_block_bits
    offset = 0
    if index < len(s.refcount_table):
        offset = s.refcount_table[index] & REFT_OFFSET_MASK
    if geometry.offset_into_cluster(offset):
        return False
    if not offset:
        return wanted is None
    try:
        table = await s.refcount_cache.get(offset)
    except BlockIOError:
        return False
    base = index << geometry.refcount_block_bits
    found = table.data[first - base : end - base]
    s.refcount_cache.put(table)
    return not any(found) if wanted is None else list(found) == wanted[: end - first]


async def _is_readable(s: Qcow2State, index: int) -> bool:
    """Whether there is a refcount of a cluster, right or wrong."""
    try:
        await get_refcount(s, index)
    except BlockIOError:
        return False
    return True


async def _compare_one(
    s: Qcow2State, index: int, wanted: int, result: CheckResult, *, fix: bool, errors: bool
) -> bool:
    """Compare the refcount of a cluster; returns whether it is used and not counted."""
    try:
        found = await get_refcount(s, index)
    except BlockIOError as error:
        say(s, f"Can't get refcount for cluster {index}: {BlockIOError(error.errno).desc}")
        result.check_errors += 1
        return False
    if found == wanted:
        return False
    leak = found > wanted
    repair = fix and bool(found) and (leak or errors)
    word = "Repairing" if repair else "Leaked" if leak else "ERROR"
    say(s, f"{word} cluster {index} refcount={found} reference={wanted}")
    if not repair or not await _set_refcount(s, index, wanted - found):
        result.leaks += leak
        result.corruptions += not leak
    return not found


async def _set_refcount(s: Qcow2State, cluster_index: int, addend: int) -> bool:
    """Change a refcount; returns whether that worked."""
    try:
        await update_refcount(
            s, cluster_index << s.geometry.cluster_bits, 1, addend, Discard.ALWAYS
        )
    except BlockIOError:
        return False
    return True


async def _check_copied(s: Qcow2State, result: CheckResult, *, fix: bool) -> None:
    """Compare the copied flags of the active tables with the refcounts (check_oflag_copied)."""
    for start, piece in pieces(s.l1):
        await s.rest()
        for index, entry in enumerate(piece, start):
            if entry & OFFSET_MASK:
                await _check_copied_l1(s, index, entry, result, fix=fix)


async def _check_copied_l1(
    s: Qcow2State, index: int, entry: int, result: CheckResult, *, fix: bool
) -> None:
    """Compare the flag of an L1 entry, and those of its L2 table."""
    await s.rest()
    l2_offset = entry & OFFSET_MASK
    try:
        count = await get_refcount(s, l2_offset >> s.geometry.cluster_bits)
    except BlockIOError:
        return
    if (count == 1) != bool(entry & OFLAG_COPIED):
        result.corruptions += 1
        say(
            s,
            f"{verb(fix=fix)} OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={entry:x}"
            f" refcount={count}",
        )
        if fix:
            s.set_l1_entry(index, entry ^ OFLAG_COPIED)
            try:
                await write_l1_entry(s, index)
            except BlockIOError:
                result.check_errors += 1
                raise
            result.fixed_one()
    await _check_copied_l2(s, l2_offset, result, fix=fix)


async def _check_copied_l2(
    s: Qcow2State, l2_offset: int, result: CheckResult, *, fix: bool
) -> None:
    geometry = s.geometry
    try:
        table = await decode_long(s, bytes(await s.file.pread(l2_offset, geometry.cluster_size)))
    except BlockIOError as error:
        say(s, f"ERROR: Could not read L2 table: {error.desc}")
        result.check_errors += 1
        raise
    wrong = 0
    for at in range(0, len(table), 2 if geometry.extended_l2 else 1):
        if not at % AT_A_TIME:
            await s.rest()
        entry = table[at]
        if not entry or s.rules.cluster_type(entry) not in (Cluster.NORMAL, Cluster.ZERO_ALLOC):
            continue
        try:
            host = (entry & OFFSET_MASK) >> geometry.cluster_bits
            count = 1 if s.has_data_file else await get_refcount(s, host)
        except BlockIOError:
            continue
        if (count == 1) == bool(entry & OFLAG_COPIED):
            continue
        say(s, f"{verb(fix=fix)} OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={count}")
        table[at] = entry ^ OFLAG_COPIED
        wrong += 1
    result.corruptions += wrong
    if not wrong or not fix:
        return
    what = "Could not write L2 table"
    try:
        try:
            await pre_write_overlap_check(s, ACTIVE_L2, l2_offset, geometry.cluster_size)
        except BlockIOError:
            what += "; metadata overlap check failed"
            raise
        await s.file.pwrite(l2_offset, encode_entries(table))
    except BlockIOError as error:
        say(s, f"ERROR: {what}: {BlockIOError(error.errno).desc}")
        result.check_errors += 1
        raise
    result.corruptions -= wrong


async def repair_dirty(s: Qcow2State) -> None:
    """Repair an image that was not closed cleanly with lazy refcounts, and clear its dirty bit.

    :raises BlockIOError: it failed; with QEMU's text
    """
    try:
        result = await check(s, fix=True)
        if result.check_errors:
            raise BlockIOError(errno.EIO)
    except QmpError as error:
        number = error.errno if isinstance(error, BlockIOError) else errno.EINVAL
        text = f"Could not repair dirty image: {BlockIOError(number).desc}"
        raise BlockIOError(number, text) from error

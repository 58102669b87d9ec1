"""Internal snapshots: creating, deleting, going back to one, and their references."""

from __future__ import annotations

import errno
import re
from array import array
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import decimal_number
from qmpd.block.drivers.formats.qcow2.clusters.at_once import at_once
from qmpd.block.drivers.formats.qcow2.clusters.mapping import grow_l1_table
from qmpd.block.drivers.formats.qcow2.clusters.resize import failed, truncate_locked
from qmpd.block.drivers.formats.qcow2.clusters.zero import cluster_discard
from qmpd.block.drivers.formats.qcow2.header.header import validate_table
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_L1_SIZE,
    MAX_SNAPSHOTS,
    OFFSET_MASK,
    OFLAG_COPIED,
)
from qmpd.block.drivers.formats.qcow2.options import ACTIVE_L1
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import (
    alloc_clusters,
    free_clusters,
    update_refcount,
)
from qmpd.block.drivers.formats.qcow2.refcounts.counts import (
    Discard,
    get_refcount,
    process_discards,
)
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import (
    c_hex,
    corruption,
    pre_write_overlap_check,
)
from qmpd.block.drivers.formats.qcow2.snapshots.table import write_snapshots
from qmpd.block.drivers.formats.qcow2.tables.cache import decode_entries, encode_entries
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster
from qmpd.block.drivers.formats.qcow2.tables.long import decode_long, pieces
from qmpd.block.drivers.formats.qcow2.tables.snapshot import NO_ICOUNT, Snapshot
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.cache import Table

_NUMBER: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_IDS: Final = 1 << 64

AT_A_TIME: Final = 128
"""Entries of L2 tables that are changed before others may have their turn."""

MAX_NAME: Final = 255
"""Longest name of a snapshot, bytes; QEMU cuts off what is beyond."""


async def snapshot_create(
    s: Qcow2State,
    name: str,
    *,
    date_sec: int,
    date_nsec: int,
    vm_clock_nsec: int,
    vm_state_size: int = 0,
    disk_only: bool = True,
) -> Snapshot:
    """Take an internal snapshot of the current disk, with a new id.

    :param disk_only: not a snapshot of a whole machine; this is not recorded in the image

    :raises BlockIOError: EFBIG with too many, ENOTSUP with an external data file
    """
    if len(s.snapshots) >= MAX_SNAPSHOTS:
        raise BlockIOError(errno.EFBIG)
    if s.has_data_file:
        raise BlockIOError(errno.ENOTSUP)
    async with s.lock, at_once(s):
        l1_bytes = len(s.l1) * ENTRY_SIZE
        offset = await alloc_clusters(s, l1_bytes) if l1_bytes else 0
        await pre_write_overlap_check(s, 0, offset, l1_bytes)
        if l1_bytes:
            await s.file.pwrite(offset, encode_entries(s.l1))
        await update_snapshot_refcounts(s, s.header.l1_table_offset, len(s.l1), 1)
        snapshot = Snapshot(
            l1_table_offset=offset,
            l1_size=len(s.l1),
            id=_new_id(s.snapshots),
            name=name.encode()[:MAX_NAME],
            date_sec=date_sec,
            date_nsec=date_nsec,
            vm_clock_nsec=vm_clock_nsec,
            vm_state_size=vm_state_size,
            disk_size=s.size,
            icount=NO_ICOUNT,
            disk_only=disk_only,
        )
        await write_snapshots(s, [*s.snapshots, snapshot])
        state = s.geometry.round_up(vm_state_size)
        await cluster_discard(s, s.vm_state_offset, state, Discard.NEVER, full=False)
        return snapshot


def _new_id(snapshots: list[Snapshot]) -> bytes:
    """One more than the highest id, as ``unsigned long`` counts (``find_new_snapshot_id``)."""
    highest = 0
    for snapshot in snapshots:
        found = _NUMBER.match(snapshot.id)
        if found is not None:
            number = decimal_number(found[1].decode())
            highest = max(highest, number % _IDS if abs(number) < _IDS else _IDS - 1)
    return b"%d" % ((highest + 1) % _IDS)


def find_snapshot(s: Qcow2State, ident: str | None, name: str | None) -> Snapshot | None:
    """The first snapshot with that id and name; either may be None, which matches any."""
    if ident is None and name is None:
        return None
    for snapshot in s.snapshots:
        if ident is not None and snapshot.id != ident.encode():
            continue
        if name is not None and snapshot.name != name.encode():
            continue
        return snapshot
    return None


def _check_l1(s: Qcow2State, snapshot: Snapshot) -> None:
    validate_table(
        s.geometry,
        snapshot.l1_table_offset,
        snapshot.l1_size,
        ENTRY_SIZE,
        MAX_L1_SIZE,
        "Snapshot L1 table",
    )


async def snapshot_delete(s: Qcow2State, ident: str | None, name: str | None) -> Snapshot:
    """Delete a snapshot; returns what it was.

    :raises BlockIOError: ENOENT when there is none, ENOTSUP with an external data file
    """
    if s.has_data_file:
        raise BlockIOError(errno.ENOTSUP)
    snapshot = find_snapshot(s, ident, name)
    if snapshot is None:
        raise BlockIOError(errno.ENOENT, "Can't find the snapshot")
    _check_l1(s, snapshot)
    async with s.lock, at_once(s):
        remaining = [other for other in s.snapshots if other is not snapshot]
        try:
            await write_snapshots(s, remaining)
        except BlockIOError as error:
            # The image has it still, QEMU does not know it any more.
            s.snapshots = remaining
            raise failed(error, "Failed to remove snapshot from snapshot list") from error
        l1_offset, l1_size = snapshot.l1_table_offset, snapshot.l1_size
        try:
            await update_snapshot_refcounts(s, l1_offset, l1_size, -1)
        except BlockIOError as error:
            raise failed(error, "Failed to free the cluster and L1 table") from error
        await free_clusters(s, l1_offset, l1_size * ENTRY_SIZE, Discard.SNAPSHOT)
        try:
            await update_snapshot_refcounts(s, s.header.l1_table_offset, len(s.l1), 0)
        except BlockIOError as error:
            raise failed(error, "Failed to update snapshot status in disk") from error
    return snapshot


async def snapshot_goto(s: Qcow2State, ident: str) -> None:
    """Revert the disk to a snapshot.

    :param ident: its id, or else its name
    :raises BlockIOError: ENOENT when there is none, ENOTSUP with an external data file
    """
    if s.has_data_file:
        raise BlockIOError(errno.ENOTSUP)
    snapshot = find_snapshot(s, ident, None) or find_snapshot(s, None, ident)
    if snapshot is None:
        raise BlockIOError(errno.ENOENT)
    _check_l1(s, snapshot)
    async with s.lock, at_once(s):
        if snapshot.disk_size != s.size:
            await truncate_locked(s, snapshot.disk_size, exact=True)
        await grow_l1_table(s, snapshot.l1_size, exact=True)
        raw = await s.file.pread(snapshot.l1_table_offset, snapshot.l1_size * ENTRY_SIZE)
        raw = bytes(raw).ljust(len(s.l1) * ENTRY_SIZE, b"\0")
        await update_snapshot_refcounts(s, snapshot.l1_table_offset, snapshot.l1_size, 1)
        where = s.header.l1_table_offset
        await pre_write_overlap_check(s, ACTIVE_L1, where, len(raw))
        await s.pwrite_sync(where, raw)
        try:
            # The old table is still the one in memory: its references go now.
            await update_snapshot_refcounts(s, where, len(s.l1), -1)
        finally:
            s.set_l1(decode_entries(raw))
        await update_snapshot_refcounts(s, where, len(s.l1), 0)


async def update_snapshot_refcounts(
    s: Qcow2State, l1_offset: int, l1_size: int, addend: int
) -> None:
    """Add `addend` to the refcounts of everything an L1 table refers to; update the copied flags.

    :param l1_offset: file offset of the table; the active one's means the table in memory
    :param addend: -1, 0 or 1
    """
    active = l1_offset == s.header.l1_table_offset
    if active:
        l1 = s.l1
    else:
        l1 = await decode_long(s, await s.file.pread(l1_offset, l1_size * ENTRY_SIZE))
    changed = array("Q", l1)
    succeeded = False
    s.cache_discards = True
    try:
        for start, piece in pieces(l1):
            await s.rest()
            for index, entry in enumerate(piece, start):
                if entry:
                    changed[index] = await _update_table(s, index, entry, addend)
        await s.flush_caches()
        succeeded = True
    finally:
        if active and changed != l1:
            # Also after a failure: the tables so far are shared, and are not to be written to.
            s.set_l1(changed)
        s.cache_discards = False
        await process_discards(s, succeeded)
    if addend >= 0 and changed != l1:
        await s.pwrite_sync(l1_offset, encode_entries(changed))


async def _update_table(s: Qcow2State, l1_index: int, l1_entry: int, addend: int) -> int:
    """Update one L2 table; returns the L1 entry with the right copied flag."""
    geometry = s.geometry
    l2_offset = l1_entry & OFFSET_MASK
    if geometry.offset_into_cluster(l2_offset):
        raise await corruption(
            s, f"L2 table offset {c_hex(l2_offset)} unaligned (L1 index: {c_hex(l1_index)})"
        )
    step = s.l2_slice_size * geometry.l2_entry_size
    for start in range(0, geometry.cluster_size, step):
        await s.rest()
        table = await s.l2_cache.get(l2_offset + start)
        try:
            first = start // geometry.l2_entry_size
            await _update_slice(s, table, l2_offset, first, addend)
        finally:
            s.l2_cache.put(table)
    if addend:
        await update_refcount(s, l2_offset, 1, addend, Discard.SNAPSHOT)
    alone = await get_refcount(s, l2_offset >> geometry.cluster_bits) == 1
    return l2_offset | OFLAG_COPIED if alone else l2_offset


async def _update_slice(
    s: Qcow2State, table: Table, l2_offset: int, first: int, addend: int
) -> None:
    """Update the entries of one slice, which starts at entry `first` of its table."""
    geometry = s.geometry
    entries = table.data
    width = 2 if geometry.extended_l2 else 1
    for at in range(0, len(entries), width):
        if not at % AT_A_TIME:
            await s.rest()
        old = entries[at]
        if not old:
            continue
        entry = old & ~OFLAG_COPIED
        kind = s.rules.cluster_type(entry)
        refcount = 0
        if kind is Cluster.COMPRESSED:
            if addend:
                host, size = geometry.compressed_extent(entry)
                await update_refcount(s, host, size, addend, Discard.SNAPSHOT)
        elif kind in (Cluster.NORMAL, Cluster.ZERO_ALLOC):
            host = entry & OFFSET_MASK
            if geometry.offset_into_cluster(host):
                raise await corruption(
                    s,
                    f"Cluster allocation offset {c_hex(host)} unaligned"
                    f" (L2 offset: {c_hex(l2_offset)}, L2 index: {c_hex(first + at // width)})",
                )
            if addend:
                await update_refcount(s, host, 1, addend, Discard.SNAPSHOT)
            refcount = await get_refcount(s, host >> geometry.cluster_bits)
        if refcount == 1:
            entry |= OFLAG_COPIED
        if entry != old:
            if addend > 0:
                await s.l2_cache.set_dependency(s.refcount_cache)
            entries[at] = entry
            table.dirty = True

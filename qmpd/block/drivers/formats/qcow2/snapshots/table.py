"""The table of internal snapshots: reading and writing it."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.header.header import OFFSET_SNAPSHOTS
from qmpd.block.drivers.formats.qcow2.header.layout import (
    MAX_SNAPSHOT_EXTRA_DATA,
    MAX_SNAPSHOTS_SIZE,
)
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters, free_clusters
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.tables.snapshot import EXTRA, NO_ICOUNT, Snapshot
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

_HEAD = struct.Struct(">QIHHIIQII")
_POINTER = struct.Struct(">IQ")
AT_A_TIME: Final = 64
"""Entries that are read before others may have their turn: there may be 65536."""
MAX_32 = (1 << 32) - 1


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """A table entry, without padding at its end."""
    small = snapshot.vm_state_size
    head = _HEAD.pack(
        snapshot.l1_table_offset,
        snapshot.l1_size,
        len(snapshot.id),
        len(snapshot.name),
        snapshot.date_sec,
        snapshot.date_nsec,
        snapshot.vm_clock_nsec,
        small if small <= MAX_32 else 0,
        max(EXTRA.size, snapshot.extra_data_size),
    )
    extra = EXTRA.pack(snapshot.vm_state_size, snapshot.disk_size, snapshot.icount)
    return head + extra + snapshot.unknown_extra + snapshot.id + snapshot.name


async def read_snapshots(s: Qcow2State) -> None:
    """Read the table that the header points at.

    :raises BlockIOError: it cannot be read, or is larger than QCOW_MAX_SNAPSHOTS_SIZE
    """
    offset = s.header.snapshots_offset
    length = 0
    snapshots = []
    for index in range(s.header.nb_snapshots):
        if not index % AT_A_TIME:
            await s.rest()
        length = (length + 7) & ~7
        start = offset = (offset + 7) & ~7
        try:
            snapshot, offset = await _read_entry(s, index, offset)
        except BlockIOError as error:
            if error.desc.startswith("Too much"):
                raise
            text = f"Failed to read snapshot table: {error.desc}"
            raise BlockIOError(error.errno, text) from error
        length += offset - start
        if length > MAX_SNAPSHOTS_SIZE:
            count = s.header.nb_snapshots - index
            raise BlockIOError(errno.EFBIG, "Snapshot table is too big").hinted(
                f"You can force-remove all {count} overhanging snapshots with qemu-img check -r all"
            )
        snapshots.append(snapshot)
    s.snapshots = snapshots
    s.snapshots_size = offset - s.header.snapshots_offset if snapshots else 0


async def _read_entry(s: Qcow2State, index: int, offset: int) -> tuple[Snapshot, int]:
    """The table entry at file `offset`, and where it ends."""
    (l1_offset, l1_size, id_size, name_size, sec, nsec, clock, vm_state, extra_size) = _HEAD.unpack(
        await s.file.pread(offset, _HEAD.size)
    )
    offset += _HEAD.size
    if extra_size > MAX_SNAPSHOT_EXTRA_DATA:
        raise BlockIOError(
            errno.EFBIG, f"Too much extra metadata in snapshot table entry {index}"
        ).hinted("You can force-remove this extra metadata with qemu-img check -r all")
    rest = await s.file.pread(offset, extra_size + id_size + name_size)
    extra = rest[:extra_size]
    known = [
        int.from_bytes(extra[at : at + 8], "big") if extra_size >= at + 8 else None
        for at in (0, 8, 16)
    ]
    snapshot = Snapshot(
        l1_table_offset=l1_offset,
        l1_size=l1_size,
        id=_text(rest[extra_size : extra_size + id_size]),
        name=_text(rest[extra_size + id_size :]),
        date_sec=sec,
        date_nsec=nsec,
        vm_clock_nsec=clock,
        vm_state_size=vm_state if known[0] is None else known[0],
        disk_size=s.size if known[1] is None else known[1],
        icount=NO_ICOUNT if known[2] is None else known[2],
        extra_data_size=extra_size,
        unknown_extra=bytes(extra[EXTRA.size :]),
    )
    return snapshot, offset + len(rest)


def _text(raw: bytes) -> bytes:
    return bytes(raw).split(b"\0", 1)[0]


async def encode_table(s: Qcow2State, snapshots: list[Snapshot]) -> bytes:
    """The whole table, entries aligned to 8 bytes.

    :raises BlockIOError: EFBIG
    """
    table = bytearray()
    for index, snapshot in enumerate(snapshots):
        if not index % AT_A_TIME:
            await s.rest()
        table += bytes(-len(table) % 8)
        table += encode_snapshot(snapshot)
        if len(table) > MAX_SNAPSHOTS_SIZE:
            raise BlockIOError(errno.EFBIG)
    return bytes(table)


async def write_snapshots(s: Qcow2State, snapshots: list[Snapshot]) -> None:
    """Write `snapshots` as a new table, switch the header to it and free the old one."""
    table = await encode_table(s, snapshots)
    offset = await alloc_clusters(s, len(table)) if table else 0
    try:
        await s.flush_caches()
        if table:
            await pre_write_overlap_check(s, 0, offset, len(table))
            await s.file.pwrite(offset, table)
        await s.flush_caches()
        await s.pwrite_sync(OFFSET_SNAPSHOTS, _POINTER.pack(len(snapshots), offset))
    except BlockIOError:
        if offset:
            await free_clusters(s, offset, len(table), Discard.ALWAYS)
        raise
    old_offset, old_size = s.header.snapshots_offset, s.snapshots_size
    s.snapshots = snapshots
    s.snapshots_size = len(table)
    s.header.snapshots_offset = offset
    s.header.nb_snapshots = len(snapshots)
    await free_clusters(s, old_offset, old_size, Discard.SNAPSHOT)

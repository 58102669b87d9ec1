"""Changing tables, refcounts and their flags at once, whenever it is interrupted.

An internal snapshot changes refcounts and the copied flags that say the same, in clusters all over
the file; an image that is emptied is laid out anew.  QEMU writes one after the other: if it is
killed meanwhile, or the power is lost, the image is corrupt.  Here the changes are held back
(`HeldFile`) until all are known.  Then

1. what is new, and copies of all that is to change, go to where nothing is;
2. one sector, the header's, says that the copies are the image;
3. what has changed is written in its place, which nothing refers to any more;
4. one sector says that the image is where it was, and the copies are cut off.

Each step is flushed before the next.  Whenever this ends the image is the old one or the new one.
"""

from __future__ import annotations

import errno
import struct
from array import array
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import SECTOR
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ENTRY_SIZE,
    MAX_REFTABLE_SIZE,
    OFFSET_MASK,
    OFLAG_COPIED,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.refcounts.codec import (
    decode_refcounts,
    empty_refcounts,
    encode_refcounts,
    last_used,
)
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.block.drivers.formats.qcow2.tables.held import HeldFile
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.model.node import Node

_POINTERS: Final = struct.Struct(">QQI")
_POINTERS_AT: Final = 40
"""In the header: where the L1 table and the refcount table are, and the latter's clusters."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EINVAL, errno.ENOTSUP})
"""Errors of a file that cannot grow by the copies."""

_CHUNK: Final = 2 << 20
"""Bytes that are written at once."""


@asynccontextmanager
async def at_once(s: Qcow2State) -> AsyncIterator[None]:
    """Within, changes of the metadata are held back; call with the image's lock held.

    With lazy refcounts that are not right anyway nothing is held back: who opens such an image
    repairs it.

    :raises BlockIOError: they cannot be written; the image is what it was
    """
    if not s.accurate_refcounts:
        yield
        return
    await s.flush_caches()
    before = _Memory(s)
    s.held = held = HeldFile(s.file_node, s.geometry.cluster_size)
    try:
        yield
        await s.write_caches()
    except QmpError:
        # What was done until then is there, as in QEMU.
        with suppress(BlockIOError):
            await s.write_caches()
        s.held = None
        with suppress(BlockIOError):
            await _write(s, held, before)
        raise
    finally:
        s.held = None
    await _write(s, held, before)


class _Memory:
    """What of an image is in memory, to be restored."""

    def __init__(self, s: Qcow2State) -> None:
        self.l1 = array("Q", s.l1)
        self.refcount_table = array("Q", s.refcount_table)
        self.header = copy(s.header)
        self.others = {name: getattr(s, name) for name in self._OTHERS}

    _OTHERS: Final = (
        *("size", "snapshots", "snapshots_size", "l1_vm_state_index"),
        *("free_cluster_index", "free_byte_offset"),
    )

    def restore(self, s: Qcow2State) -> None:
        """Let the image in memory be as it was."""
        for name, value in self.others.items():
            setattr(s, name, value)
        s.header = self.header
        s.set_l1(self.l1)
        s.set_refcount_table(self.refcount_table)
        s.l2_cache.forget()
        s.refcount_cache.forget()


async def _write(s: Qcow2State, held: HeldFile, before: _Memory) -> None:
    """Write what was held back."""
    file = s.file_node
    if held.clusters:
        used = _Used(s, file, before.refcount_table)
        try:
            fresh = {index for index in held.clusters if index and not await used.is_used(index)}
            await _write_clusters(file, held, fresh)
            await file.flush()
            await _switch(s, used, held, set(held.clusters) - fresh)
        except BlockIOError:
            before.restore(s)
            raise
    if file.length > held.length:
        with suppress(BlockIOError):
            await file.truncate(held.length, exact=False)
    for offset, length in held.discards:
        with suppress(BlockIOError):
            await file.pdiscard(offset, length)


class _Used:
    """Which clusters are in use, by the refcounts in a file.

    :param file: with those that were, or as it will be
    :param table: the refcount table
    """

    def __init__(self, s: Qcow2State, file: Node | HeldFile, table: array[int]) -> None:
        self._geometry = s.geometry
        self._file = file
        self._table = table
        self._blocks: dict[int, bytearray | array[int]] = {}

    async def is_used(self, cluster: int) -> bool:
        """Whether a cluster is."""
        index, position = divmod(cluster, self._geometry.refcount_block_size)
        counts = await self.block(index)
        return bool(counts and counts[position])

    async def block(self, index: int) -> bytearray | array[int]:
        """The counts of a block of the table; empty where there is none."""
        geometry = self._geometry
        offset = self._table[index] & REFT_OFFSET_MASK if index < len(self._table) else 0
        if offset and index not in self._blocks:
            raw = await self._file.pread(offset, geometry.cluster_size)
            self._blocks[index] = decode_refcounts(raw, geometry.refcount_order)
        return self._blocks.get(index, bytearray())

    async def end(self) -> int:
        """The first cluster behind all that are in use, and behind the file."""
        geometry = self._geometry
        end = max(geometry.clusters(self._file.length), 1)
        for index in range(len(self._table) - 1, -1, -1):
            counts = await self.block(index)
            used = last_used(counts, 0, len(counts)) if counts else -1
            if used >= 0:
                return max(end, index * geometry.refcount_block_size + used + 1)
        return end


async def _write_clusters(file: Node, held: HeldFile, wanted: Iterable[int]) -> None:
    """Write clusters in their places, adjacent ones together."""
    size = len(next(iter(held.clusters.values())))
    start, parts = 0, bytearray()
    for index in sorted(wanted):
        if parts and (index * size != start + len(parts) or len(parts) >= _CHUNK):
            await file.pwrite(start, bytes(parts))
            parts = bytearray()
        if not parts:
            start = index * size
        parts += held.clusters[index][: max(held.length - index * size, 0)]
    if parts:
        await file.pwrite(start, bytes(parts))


async def _switch(s: Qcow2State, used: _Used, held: HeldFile, changed: set[int]) -> None:
    """Change what was in use, all at once."""
    file = s.file_node
    in_place = changed - {0}
    header = held.clusters.get(0)
    if in_place:
        if header is None:
            header = bytearray(await file.pread(0, s.geometry.cluster_size))
        copies = _Copies(s, held, header)
        try:
            await copies.make(in_place, await used.end())
            await copies.write(file)
        except BlockIOError as error:
            if error.errno not in _NO_ROOM:
                raise
            await _in_doubt(s, file, held, changed)
            return
        await _write_header(file, copies.header)
        try:
            await _write_clusters(file, held, in_place)
            await file.flush()
        except BlockIOError:
            copies.keep()
            held.length = file.length
            return
    if header is not None:
        await _write_first(file, header)


async def _write_first(file: Node, cluster: bytearray) -> None:
    """Write the first cluster, at last the sector that counts."""
    if len(cluster) > SECTOR:
        await file.pwrite(SECTOR, bytes(cluster[SECTOR:]))
    await _write_header(file, cluster)


async def _write_header(file: Node, header: bytearray) -> None:
    await file.pwrite(0, bytes(header[:SECTOR]))
    await file.flush()


async def _in_doubt(s: Qcow2State, file: Node, held: HeldFile, changed: set[int]) -> None:
    """Where there is no room for copies: write in place, which who opens it must repair meanwhile.

    Images of version 2 cannot say that they are in doubt.
    """
    marked = s.header.version >= 3
    if marked:
        await s.mark_dirty()
    await _write_clusters(file, held, changed - {0})
    await file.flush()
    if 0 in changed:
        await _write_first(file, held.clusters[0])
    if marked:
        await s.mark_clean()


class _Copies:
    """Copies of all that changes, with refcounts of their own: an image beside the image.

    `header`: the first cluster of the file, which refers to them.
    """

    def __init__(self, s: Qcow2State, held: HeldFile, header: bytearray) -> None:
        self._s = s
        self._held = held
        self._new = _Used(s, held, s.refcount_table)
        self.header = bytearray(header)
        self._start = 0
        self._data = bytearray()
        self._l1 = s.l1
        self._table = s.refcount_table
        self._l1_offset = s.header.l1_table_offset
        self._table_offset = 0

    async def make(self, changed: set[int], start: int) -> None:
        """Make them.

        :param start: the first cluster that they may have
        :raises BlockIOError: a table cannot be read, or there would be too many
        """
        s, geometry = self._s, self._s.geometry
        self._start = max(start, await self._new.end())
        self._add_l2_tables(changed)
        l1_first = s.header.l1_table_offset >> geometry.cluster_bits
        l1_clusters = geometry.clusters(len(s.l1) * ENTRY_SIZE)
        if self._data or not changed.isdisjoint(range(l1_first, l1_first + l1_clusters)):
            raw = encode_entries(self._l1)
            self._l1_offset = self._add(raw)
        await self._add_refcounts(changed)
        clusters = len(self._table) * ENTRY_SIZE >> geometry.cluster_bits
        _POINTERS.pack_into(
            self.header, _POINTERS_AT, self._l1_offset, self._table_offset, clusters
        )

    async def write(self, file: Node) -> None:
        """Write them, and flush."""
        where = self._start << self._s.geometry.cluster_bits
        for at in range(0, len(self._data), _CHUNK):
            await file.pwrite(where + at, bytes(self._data[at : at + _CHUNK]))
        await file.flush()

    def keep(self) -> None:
        """Let the image in memory be the one beside the image."""
        s = self._s
        s.l2_cache.forget()
        s.refcount_cache.forget()
        s.header.l1_table_offset, s.header.refcount_table_offset = (
            self._l1_offset,
            self._table_offset,
        )
        s.set_l1(array("Q", self._l1))
        s.set_refcount_table(self._table)

    def _add(self, raw: bytes | bytearray) -> int:
        """Append whole clusters; returns their file offset."""
        geometry = self._s.geometry
        offset = (self._start << geometry.cluster_bits) + len(self._data)
        self._data += raw
        self._data += bytes(-len(raw) % geometry.cluster_size)
        return offset

    def _add_l2_tables(self, changed: set[int]) -> None:
        bits = self._s.geometry.cluster_bits
        self._l1 = array("Q", self._s.l1)
        for index, entry in enumerate(self._l1):
            cluster = (entry & OFFSET_MASK) >> bits
            if cluster and cluster in changed:
                self._l1[index] = self._add(self._held.clusters[cluster]) | OFLAG_COPIED

    async def _add_refcounts(self, changed: set[int]) -> None:
        """Copy the refcount table, the blocks that change, and those that count the copies."""
        geometry = self._s.geometry
        bits, per_block = geometry.cluster_bits, geometry.refcount_block_size
        old = self._s.refcount_table
        blocks = {
            index
            for index, entry in enumerate(old)
            if entry and (entry & REFT_OFFSET_MASK) >> bits in changed
        }
        others, table_clusters = len(self._data) >> bits, 0
        while True:
            end = self._start + others + len(blocks) + table_clusters
            more = set(range(self._start // per_block, (end - 1) // per_block + 1)) - blocks
            entries = max(len(old), max(blocks | more) + 1)
            needed = geometry.clusters(entries * ENTRY_SIZE)
            if not more and needed == table_clusters:
                break
            blocks |= more
            table_clusters = needed
        if table_clusters << bits > MAX_REFTABLE_SIZE:
            raise BlockIOError(errno.EFBIG)
        table = array("Q", old)
        table.frombytes(bytes((table_clusters << bits) - len(old) * ENTRY_SIZE))
        for index in sorted(blocks):
            counts = await self._new.block(index)
            if not counts:
                counts = empty_refcounts(per_block, geometry.refcount_order)
            first = index * per_block
            for cluster in range(max(self._start, first), min(end, first + per_block)):
                counts[cluster - first] = 1
            table[index] = self._add(encode_refcounts(counts, geometry.refcount_order))
        self._table = table
        self._table_offset = self._add(encode_entries(table))

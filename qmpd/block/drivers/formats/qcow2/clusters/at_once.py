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
from collections.abc import AsyncIterator, Iterable, Iterator
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
from qmpd.block.drivers.formats.qcow2.refcounts.counts import get_refcount
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

_TRIES: Final = 100
"""Places that are looked at for the copies; behind the file's end the first one is free."""

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
            await _discard(s, offset, length)


async def _discard(s: Qcow2State, offset: int, length: int) -> None:
    """Discard those clusters of an area that have not been taken again since they were freed."""
    bits = s.geometry.cluster_bits
    start, end = offset >> bits, (offset + length) >> bits
    for index in range(start, end + 1):
        if index < end and not await get_refcount(s, index):
            continue
        if index > start:
            await s.file_node.pdiscard(start << bits, (index - start) << bits)
        start = index + 1


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

    async def free_from(self, start: int, count: int) -> int:
        """The first cluster from `start` on from which there may be `count` free ones.

        It is `start` if they are free; if not, it may be that what follows it is not, either.
        """
        size = self._geometry.refcount_block_size
        for index in range((start + count - 1) // size, start // size - 1, -1):
            counts = await self.block(index)
            low, high = max(start - index * size, 0), min(start + count - index * size, size)
            used = last_used(counts, low, high) if counts else -1
            if used >= 0:
                return index * size + used + 1
        return start


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
            await copies.make(in_place, used)
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


def _and_below(file: Node) -> Iterator[Node]:
    """A node, and those that its requests go on to."""
    node: Node | None = file
    while node is not None:
        yield node
        node = node.primary


class _Copies:
    """Copies of all that changes, with refcounts of their own: an image beside the image.

    `header`: the first cluster of the file, which refers to them.
    """

    def __init__(self, s: Qcow2State, held: HeldFile, header: bytearray) -> None:
        self._s = s
        self._held = held
        self._new = _Used(s, held, s.refcount_table)
        self.header = bytearray(header)
        self._start = self._count = self._table_clusters = 0
        self._blocks: set[int] = set()
        self._data = bytearray()
        self._l1 = s.l1
        self._table = s.refcount_table
        self._l1_offset = s.header.l1_table_offset
        self._table_offset = 0

    async def make(self, changed: set[int], used: _Used) -> None:
        """Make them.

        :param used: what is in use in the file as it is
        :raises BlockIOError: a table cannot be read, or there is no place for them
        """
        s, geometry = self._s, self._s.geometry
        bits = geometry.cluster_bits
        tables = [
            index
            for index, entry in enumerate(s.l1)
            if entry & OFFSET_MASK and (entry & OFFSET_MASK) >> bits in changed
        ]
        l1_first = s.header.l1_table_offset >> bits
        l1_clusters = geometry.clusters(len(s.l1) * ENTRY_SIZE)
        if not tables and changed.isdisjoint(range(l1_first, l1_first + l1_clusters)):
            l1_clusters = 0
        await self._place(changed, len(tables) + l1_clusters, used)
        self._l1 = array("Q", s.l1)
        for index in tables:
            copied = self._held.clusters[(s.l1[index] & OFFSET_MASK) >> bits]
            self._l1[index] = self._add(copied) | OFLAG_COPIED
        if l1_clusters:
            self._l1_offset = self._add(encode_entries(self._l1))
        await self._add_refcounts()
        _POINTERS.pack_into(
            self.header, _POINTERS_AT, self._l1_offset, self._table_offset, self._table_clusters
        )

    async def write(self, file: Node) -> None:
        """Write them, and flush; statistics do not show that the file was longer for a moment."""
        where = self._start << self._s.geometry.cluster_bits
        highest = [(node, node.wr_highest_offset) for node in _and_below(file)]
        try:
            for at in range(0, len(self._data), _CHUNK):
                await file.pwrite(where + at, bytes(self._data[at : at + _CHUNK]))
        finally:
            for node, offset in highest:
                node.wr_highest_offset = offset
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

    async def _place(self, changed: set[int], others: int, used: _Used) -> None:
        """Choose the first cluster, and the blocks that are copied.

        :param others: clusters that are neither refcount blocks nor their table
        """
        geometry, old = self._s.geometry, self._s.refcount_table
        per_block = geometry.refcount_block_size
        start = max(geometry.clusters(max(self._s.file_node.length, self._held.length)), 1)
        changing = {
            index
            for index, entry in enumerate(old[: self._s.max_refcount_table_index + 1])
            if entry and (entry & REFT_OFFSET_MASK) >> geometry.cluster_bits in changed
        }
        for _ in range(_TRIES):
            self._blocks, table = set(changing), 0
            while True:
                count = others + len(self._blocks) + table
                counted = range(start // per_block, (start + count) // per_block + 1)
                needed = geometry.clusters(max(len(old), counted[-1] + 1) * ENTRY_SIZE)
                if needed == table and self._blocks.issuperset(counted):
                    break
                self._blocks.update(counted)
                table = needed
            if table << geometry.cluster_bits > MAX_REFTABLE_SIZE:
                break
            free = max(await used.free_from(start, count), await self._new.free_from(start, count))
            if free == start:
                self._start, self._count, self._table_clusters = start, count, table
                return
            start = free
        raise BlockIOError(errno.EFBIG)

    async def _add_refcounts(self) -> None:
        """Copy the refcount table, the blocks that change, and those that count the copies."""
        geometry, old = self._s.geometry, self._s.refcount_table
        per_block = geometry.refcount_block_size
        table = array("Q", old)
        missing = (self._table_clusters << geometry.cluster_bits) - len(old) * ENTRY_SIZE
        table.frombytes(bytes(missing))
        for index in sorted(self._blocks):
            counts = await self._new.block(index)
            if not counts:
                counts = empty_refcounts(per_block, geometry.refcount_order)
            first = index * per_block
            last = min(self._start + self._count, first + per_block)
            for cluster in range(max(self._start, first), last):
                counts[cluster - first] = 1
            table[index] = self._add(encode_refcounts(counts, geometry.refcount_order))
        self._table = table
        self._table_offset = self._add(encode_entries(table))

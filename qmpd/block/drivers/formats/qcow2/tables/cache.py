"""The cache of metadata tables (L2 slices, refcount blocks), written back in a safe order.

The rules are those of Qcow2Cache: a table is written when it is evicted, when the caches are
flushed, or when another cache that depends on this one is.  Those that are written together are
in the order of their slots.  A cache may
depend on the other (L2 tables must not reach the disk before the refcounts
they need), or on a flush of the file (before copied data is referred to).
"""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from qmpd.block.drivers.formats.qcow2.tables.slots import Slots
from qmpd.errors import BlockIOError

_SWAP = sys.byteorder == "little"

Contents = Any
"""A table in memory: array of 64-bit entries, or a sequence of refcounts."""


class TableFile(Protocol):
    """The file that the tables live in."""

    async def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes."""

    async def pwrite(self, offset: int, data: bytes) -> None:
        """Write `data`."""

    async def flush(self) -> None:
        """Make everything written stable."""


class Table:
    """One cached table.

    Between `TableCache.get` and `TableCache.put` it is not evicted; a caller that changes
    `data` must set `dirty`.

    :param changed: those tables of its cache that are dirty
    """

    __slots__ = ("_changed", "data", "offset", "slot", "users")

    def __init__(self, offset: int, data: Contents, slot: int, changed: dict[Table, None]) -> None:
        self.offset = offset
        self.data = data
        self.slot = slot
        self.users = 0
        self._changed = changed

    @property
    def dirty(self) -> bool:
        """Whether it is to be written."""
        return self in self._changed

    @dirty.setter
    def dirty(self, value: bool) -> None:
        if value:
            self._changed[self] = None
        else:
            self._changed.pop(self, None)


class TableCache:
    """Tables of one kind, least recently used last.

    :param name: what the tables are, for messages ("L2 table", "refcount block")
    :param capacity: number of tables kept
    :param table_size: bytes of a table on disk
    :param decode: disk form -> `Table.data`
    :param encode: `Table.data` -> disk form
    :param before_write: awaited with offset and length before each write (overlap check)
    :param corrupted: marks the image as corrupt, for the reason given, and gives the error
    """

    def __init__(
        self,
        file: Callable[[], TableFile],
        *,
        name: str,
        capacity: int,
        table_size: int,
        decode: Callable[[bytes], Contents],
        encode: Callable[[Contents], bytes],
        before_write: Callable[[int, int], Awaitable[None]],
        corrupted: Callable[[str], Awaitable[BlockIOError]],
        event: Callable[[str], None],
        load_event: str | None,
        write_event: str,
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.table_size = table_size
        self.depends: TableCache | None = None
        self.depends_on_flush = False
        self.file_uses = 0
        """How often the file was read, written or flushed."""
        self._file_now = file
        self._decode = decode
        self._encode = encode
        self._before_write = before_write
        self._corrupted = corrupted
        self._event = event
        self._load_event = load_event
        self._write_event = write_event
        self._tables: OrderedDict[int, Table] = OrderedDict()
        self._changed: dict[Table, None] = {}
        self._slots = Slots(capacity)

    @property
    def changed(self) -> list[int]:
        """File offsets of the tables that are to be written."""
        return [table.offset for table in self._changed if table in self]

    def _file(self) -> TableFile:
        self.file_uses += 1
        return self._file_now()

    async def get(self, offset: int) -> Table:
        """Get the table at file offset `offset`, reading it if necessary; `put` it back after use.

        :raises BlockIOError: reading it, or writing an evicted table, failed
        """
        table = self._tables.get(offset)
        if table is None:
            await self._check(offset)
            await self._make_room()
            if self._load_event is not None:
                self._event(self._load_event)
            raw = await self._file().pread(offset, self.table_size)
            table = self._tables.get(offset)
            if table is None:
                table = self._add(offset, self._decode(raw))
        table.users += 1
        return table

    async def get_empty(self, offset: int, data: Contents) -> Table:
        """Get a table at `offset` with contents `data` instead of what the file contains."""
        table = self._tables.get(offset)
        if table is None:
            await self._check(offset)
            await self._make_room()
            table = self._add(offset, data)
        else:
            table.data = data
        table.users += 1
        return table

    def __contains__(self, table: Table) -> bool:
        """Whether it is cached, and not another one in its place."""
        return self._tables.get(table.offset) is table

    def put(self, table: Table) -> None:
        """Release a table returned by `get`."""
        table.users -= 1
        if self._tables.get(table.offset) is table:
            self._tables.move_to_end(table.offset)

    def discard(self, offset: int) -> None:
        """Drop the table at `offset` without writing it: its cluster is free now."""
        table = self._tables.pop(offset, None)
        if table is not None:
            table.dirty = False
            self._slots.free(table.slot)

    def _add(self, offset: int, data: Contents) -> Table:
        slot = self._slots.take(offset // self.table_size)
        table = self._tables[offset] = Table(offset, data, slot, self._changed)
        return table

    async def write(self) -> None:
        """Write every changed table; after a failure, go on and raise the first error."""
        failure: BlockIOError | None = None
        for table in sorted(self._changed, key=_slot):
            try:
                await self._write_table(table)
            except BlockIOError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    async def flush(self) -> None:
        """Write every changed table and flush the file."""
        if self._changed:
            await self.write()
        await self._file().flush()

    async def set_dependency(self, dependency: TableCache) -> None:
        """Before a table of this cache is written, `dependency` must be on disk.

        Where what they depended on so far cannot be written, that stays as it is, and no error is
        told: nobody asks QEMU's qcow2_cache_set_dependency.
        """
        try:
            if dependency.depends is not None:
                await dependency._flush_dependency()
            if self.depends is not None and self.depends is not dependency:
                await self._flush_dependency()
        except BlockIOError:
            return
        self.depends = dependency

    async def empty(self) -> None:
        """Write everything back and drop it."""
        await self.flush()
        self._tables.clear()
        self._changed.clear()
        self._slots = Slots(self.capacity)

    def forget(self) -> None:
        """Drop everything, written or not."""
        self._tables.clear()
        self._changed.clear()
        self._slots = Slots(self.capacity)
        self.depends = None
        self.depends_on_flush = False

    async def _flush_dependency(self) -> None:
        assert self.depends is not None
        await self.depends.flush()
        self.depends = None
        self.depends_on_flush = False

    async def _check(self, offset: int) -> None:
        if offset % self.table_size:
            raise await self._corrupted(
                f"Cannot get entry from {self.name} cache: Offset {offset:#x} is unaligned"
            )

    async def _make_room(self) -> None:
        while len(self._tables) >= self.capacity:
            victim = next((t for t in self._tables.values() if not t.users), None)
            if victim is None:
                return
            await self._write_table(victim)
            if not victim.users and not victim.dirty:
                self.discard(victim.offset)

    async def _write_table(self, table: Table) -> None:
        if table not in self:
            # its cluster was freed while somebody went on to change it
            table.dirty = False
        if not table.dirty:
            return
        if self.depends is not None:
            await self._flush_dependency()
        elif self.depends_on_flush:
            await self._file().flush()
            self.depends_on_flush = False
        await self._before_write(table.offset, self.table_size)
        self._event(self._write_event)
        raw = self._encode(table.data)
        table.dirty = False
        try:
            await self._file().pwrite(table.offset, raw)
        except BaseException:
            table.dirty = True
            raise


def _slot(table: Table) -> int:
    return table.slot


_ZEROES = tuple(bytes(1 << bits) for bits in range(15, 5, -1))


def used_bytes(raw: bytes) -> int:
    """Length of a table without the zeroes at its end, but for a few; most of a table is zeroes."""
    end = len(raw)
    while raw.endswith(_ZEROES[0], 0, end):
        end -= len(_ZEROES[0])
    for zeroes in _ZEROES[1:]:
        if raw.endswith(zeroes, 0, end):
            end -= len(zeroes)
    return end


def decode_entries(raw: bytes) -> array[int]:
    """Big-endian 64-bit entries as an array."""
    entries = array("Q", raw)
    if not _SWAP:
        return entries
    if raw.endswith(_ZEROES[0]):
        used = -(-used_bytes(raw) // entries.itemsize)
        head = entries[:used]
        head.byteswap()
        entries[:used] = head
    else:
        entries.byteswap()
    return entries


def encode_entries(entries: array[int]) -> bytes:
    """The bytes on disk of 64-bit entries."""
    if _SWAP:
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()

"""NBD exports and their metadata contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol

from qmpd.base.override import override
from qmpd.block.bits.rules import check, find, lookup
from qmpd.block.drivers.protocols.nbd.protocol import (
    MAX_EXTENTS,
    MAX_STRING,
    STATE_HOLE,
    STATE_ZERO,
    ExportFlag,
)
from qmpd.block.io.chain_status import block_status_above
from qmpd.block.model.status_map import DATA
from qmpd.block.permission_bits import ALL, RESIZE
from qmpd.errors import GenericError
from qmpd.export.exports import BlockExport

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node

_BITMAP_PREFIX: Final = "qemu:dirty-bitmap:"


class Client(Protocol):
    """A connection, as an export sees it."""

    async def close(self) -> None:
        """Disconnect it, and wait for its request to end."""


@dataclass(frozen=True, slots=True)
class Extent:
    """An area with one status: its length in bytes, and the status of the context."""

    length: int
    state: int


class Runs(NamedTuple):
    """Areas one behind the other, whose status is one of two in turn.

    `starts` has where each begins, from the beginning of the first on, `states` the statuses of
    the first and the second; `length` is that of all.
    """

    starts: list[int]
    states: tuple[int, int]
    length: int


class Context(Protocol):
    """A metadata context."""

    @property
    def name(self) -> str:
        """Its name on the wire."""

    async def extent(self, offset: int, length: int) -> Extent:
        """The status at `offset`, for at most `length` bytes."""

    async def runs(self, offset: int, length: int) -> Runs | None:
        """The statuses of an area, or of the first part of it; None: ask `extent`."""


@dataclass(frozen=True, slots=True)
class BaseAllocation(Context):
    """``base:allocation``: holes and zeroes of the node that is exported at the time."""

    export: NbdExport
    name: str = "base:allocation"

    @override
    async def extent(self, offset: int, length: int) -> Extent:
        status = await block_status_above(self.export.node, None, offset, length)
        state = 0 if status.data else STATE_HOLE
        return Extent(status.length, state | (STATE_ZERO if status.zero else 0))

    @override
    async def runs(self, offset: int, length: int) -> Runs | None:
        found = await self.export.node.status_map(offset, length)
        if found is None:
            return None
        states = (0, STATE_HOLE | STATE_ZERO)
        return Runs(found.starts, states if found.first == DATA else states[::-1], found.length)


@dataclass(frozen=True, slots=True)
class AllocationDepth(Context):
    """``qemu:allocation-depth``: the layer that has the data: 1 for the top, 0 for none."""

    export: NbdExport
    name: str = "qemu:allocation-depth"

    @override
    async def extent(self, offset: int, length: int) -> Extent:
        depth, current = 1, self.export.node
        while True:
            status = await current.block_status(offset, length)
            length = min(length, status.length) if status.length else length
            if status.allocated:
                return Extent(length, depth)
            below = current.filter_or_backing
            if below is None or not status.length:
                return Extent(length, 0)
            depth, current = depth + 1, below

    @override
    async def runs(self, offset: int, length: int) -> Runs | None:
        return None


@dataclass(frozen=True, slots=True)
class DirtyBits(Context):
    """``qemu:dirty-bitmap:NAME``: the dirty areas of a bitmap."""

    bitmap: DirtyBitmap

    @property
    @override
    def name(self) -> str:
        return f"{_BITMAP_PREFIX}{self.bitmap.name}"

    @override
    async def extent(self, offset: int, length: int) -> Extent:
        dirty = self.bitmap.is_dirty(offset)
        end = self.bitmap.next_clean(offset) if dirty else self.bitmap.next_dirty(offset)
        return Extent(length if end is None else min(length, end - offset), int(dirty))

    @override
    async def runs(self, offset: int, length: int) -> Runs | None:
        starts: list[int] = []
        position = 0
        for start, size in islice(self.bitmap.extents(offset, length), MAX_EXTENTS):
            if start - offset > position:
                starts.append(position)
            starts.append(start - offset)
            position = start - offset + size
        if len(starts) < MAX_EXTENTS and position < length:
            starts.append(position)
            position = length
        states = (1, 0) if self.bitmap.is_dirty(offset) else (0, 1)
        return Runs(starts, states, position)


class NbdExport(BlockExport):
    """A node that NBD clients can read, and write if it is writable.

    :param name: what clients call it; unique among NBD exports
    :param bitmaps: exported as metadata contexts; they are busy while it exists
    :param multi_conn: whether clients may use several connections at a time
    """

    export_type: ClassVar[str] = "nbd"

    def __init__(
        self,
        export_id: str,
        backend: BlockBackend,
        name: str,
        *,
        description: str | None,
        bitmaps: Sequence[DirtyBitmap],
        allocation_depth: bool,
        writable: bool,
        multi_conn: bool,
    ) -> None:
        super().__init__(export_id, backend)
        # What a client has been told of the length has to stay true.
        backend.set_permissions(backend.perm, ALL & ~RESIZE)
        self.name = name
        self.description = description
        self.size = backend.length()
        self.clients: list[Client] = []
        self._bitmaps = list(dict.fromkeys(bitmaps))
        self._allocation_depth = allocation_depth
        self.flags = (
            ExportFlag.HAS_FLAGS
            | ExportFlag.SEND_FLUSH
            | ExportFlag.SEND_FUA
            | ExportFlag.SEND_CACHE
        )
        if multi_conn:
            self.flags |= ExportFlag.CAN_MULTI_CONN
        if writable:
            self.flags |= (
                ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES | ExportFlag.SEND_FAST_ZERO
            )
        else:
            self.flags |= ExportFlag.READ_ONLY
        for bitmap in self._bitmaps:
            bitmap.busy = True

    @property
    def node(self) -> Node:
        """The node that is exported."""
        node = self.backend.node
        assert node is not None
        return node

    @property
    @override
    def in_use(self) -> bool:
        return bool(self.clients)

    @override
    async def close_clients(self) -> None:
        for client in list(self.clients):
            await client.close()

    @override
    def deleted(self) -> None:
        for bitmap in self._bitmaps:
            bitmap.busy = False

    def contexts(self) -> Iterator[tuple[int, Context]]:
        """All metadata contexts with their ids."""
        yield 0, BaseAllocation(self)
        if self._allocation_depth:
            yield 1, AllocationDepth(self)
        for number, bitmap in enumerate(self._bitmaps, 2):
            yield number, DirtyBits(bitmap)

    def matching(self, query: str, *, listing: bool) -> list[tuple[int, Context]]:
        """The contexts that match a query; in a listing, a namespace matches all its contexts."""
        found = []
        for number, context in self.contexts():
            wide = query in ("base:", "qemu:", _BITMAP_PREFIX) and context.name.startswith(query)
            if query == context.name or (listing and wide):
                found.append((number, context))
        return found


def check_names(name: str, description: str | None) -> None:
    """Check the name and description of an export.

    :raises GenericError: one of them is too long
    """
    if len(name.encode()) > MAX_STRING:
        raise GenericError(f"export name '{name}' too long")
    if description is not None and len(description.encode()) > MAX_STRING:
        raise GenericError(f"description '{description}' too long")


def find_bitmaps(
    node: Node, wanted: Sequence[str | Mapping[str, Any]], *, writable: bool
) -> list[DirtyBitmap]:
    """Find the bitmaps of an export.

    :param wanted: names, looked for from `node` downwards, or a node and a name
    :raises GenericError: one does not exist, is busy, or would change while it is read
    """
    found = []
    for one in wanted:
        if isinstance(one, str):
            holder, bitmap = _find_below(node, one)
            if not writable and not holder.read_only and bitmap.enabled:
                raise GenericError(f"Enabled bitmap '{one}' incompatible with readonly export")
        else:
            _, bitmap = lookup(node.graph, one["node"], one["name"])
        check(bitmap, "export")
        found.append(bitmap)
    return found


def _find_below(node: Node, name: str) -> tuple[Node, DirtyBitmap]:
    current: Node | None = node
    while current is not None:
        bitmap = find(current, name)
        if bitmap is not None:
            return current, bitmap
        current = current.filter_or_backing
    raise GenericError(f"Bitmap '{name}' is not found")

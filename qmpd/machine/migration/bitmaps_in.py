"""Dirty bitmaps on their way in."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import SECTOR
from qmpd.block.bits.bitmap import MAXIMUM_NAME_BYTES, MINIMUM_GRANULARITY, DirtyBitmap
from qmpd.block.bits.rules import find
from qmpd.block.bits.successor import create_successor, reclaim
from qmpd.errors import GenericError
from qmpd.machine.migration import bitmap_format as form
from qmpd.machine.migration.stream import StreamError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.machine.migration.aliases import BitmapAlias, NodeAlias
    from qmpd.machine.migration.stream import Input

_LONGEST_PIECE: Final = 10 * form.CHUNK


@dataclass(slots=True)
class _Incoming:
    """A bitmap that is not complete, or has not begun to record.

    :param enabled: whether it records once the guest runs
    """

    node: Node
    bitmap: DirtyBitmap
    enabled: bool
    complete: bool = False


class BitmapsIn:
    """All bitmaps that one migration brings.

    What does not fit is told and spoils all bitmaps that are not complete, not the migration: from
    then on the rest of them is read and dropped.

    :param graph: where they come to
    :param report: takes what does not fit
    """

    def __init__(self, graph: Graph, report: Callable[[str], None]) -> None:
        self._graph = graph
        self._report = report
        self._bitmaps: list[_Incoming] = []
        self._guest_started = False
        self._cancelled = False
        self._flags = 0
        self._node_alias = ""
        self._node: Node | None = None
        self._bitmap: DirtyBitmap | None = None
        self._name = ""
        self._given: BitmapAlias | None = None

    def guest_starts(self) -> None:
        """The guest is about to run: those that record begin to (``before_vm_start``)."""
        for incoming in self._bitmaps:
            if incoming.enabled:
                successor = incoming.bitmap.successor
                (incoming.bitmap if successor is None else successor).enabled = True
        self._bitmaps = [incoming for incoming in self._bitmaps if not incoming.complete]
        self._guest_started = True

    def cancel(self) -> None:
        """Drop what is not complete (``cancel_incoming_locked``)."""
        if self._cancelled:
            return
        self._cancelled = True
        self._node = self._bitmap = None
        for incoming in self._bitmaps:
            if incoming.bitmap.successor is not None:
                reclaim(incoming.node, incoming.bitmap)
            incoming.bitmap.busy = False
            incoming.node.bitmaps.remove(incoming.bitmap)
        self._bitmaps = []

    async def load(self, stream: Input, aliases: Mapping[str, NodeAlias] | None) -> None:
        """Read one section (``dirty_bitmap_load``).

        :param aliases: names by their aliases, None without ``block-bitmap-mapping``
        :raises StreamError: it cannot be read
        :raises Disconnected: the stream ends before
        """
        try:
            while not self._flags & form.EOS:
                await self._load_one(stream, aliases)
        except BaseException:
            self.cancel()
            raise
        finally:
            self._flags = 0

    async def _load_one(self, stream: Input, aliases: Mapping[str, NodeAlias] | None) -> None:
        await self._load_header(stream, aliases)
        if self._flags & form.START:
            await self._load_start(stream)
        elif self._flags & form.COMPLETE:
            self._load_complete()
        elif self._flags & form.BITS:
            await self._load_bits(stream)

    def _spoil(self, complaint: str) -> None:
        self._report(complaint)
        self.cancel()

    async def _load_header(self, stream: Input, aliases: Mapping[str, NodeAlias] | None) -> None:
        flags = await stream.number(1)
        if flags & form.EXTRA:
            flags = flags << 8 | await stream.number(1)
            if flags & form.EXTRA:
                flags = flags << 16 | await stream.number(2)
        self._flags = flags
        nothing = not flags & ~form.EOS
        if flags & form.DEVICE_NAME:
            self._node_alias = await stream.text()
            if not self._cancelled:
                self._find_node(aliases)
        elif self._node is None and not nothing and not self._cancelled:
            self._spoil("Error: block device name is not set")
        if flags & form.BITMAP_NAME:
            alias = await stream.text()
            if not self._cancelled:
                self._find_bitmap(alias, aliases)
        elif self._bitmap is None and not nothing and not self._cancelled:
            self._spoil("Error: block device name is not set")

    def _find_node(self, aliases: Mapping[str, NodeAlias] | None) -> None:
        alias = self._node_alias
        self._node = None
        try:
            if aliases is None:
                self._node = self._graph.lookup_device_or_node(alias, alias)
            elif alias not in aliases:
                self._spoil(f"Error: Unknown node alias '{alias}'")
            else:
                self._node = self._graph.lookup_device_or_node(None, aliases[alias].name)
        except GenericError as error:
            self._spoil(error.desc)

    def _find_bitmap(self, alias: str, aliases: Mapping[str, NodeAlias] | None) -> None:
        node = self._node
        assert node is not None
        self._name, self._given, self._bitmap = alias, None, None
        if aliases is not None:
            self._given = aliases[self._node_alias].bitmaps.get(alias)
            if self._given is None:
                self._spoil(
                    f"Error: Unknown bitmap alias '{alias}' on node '{node.node_name}' (alias"
                    f" '{self._node_alias}')"
                )
                return
            self._name = self._given.name
        self._bitmap = find(node, self._name)
        if self._bitmap is None and not self._flags & form.START:
            self._spoil(
                f"Error: unknown dirty bitmap '{self._name}' for block device '{node.node_name}'"
            )

    async def _load_start(self, stream: Input) -> None:
        granularity, flags = await stream.number(4), await stream.number(1)
        if self._cancelled:
            return
        node = self._node
        assert node is not None
        if self._bitmap is not None:
            raise StreamError(
                errno.EINVAL,
                f"Bitmap with the same name ('{self._name}') already exists on destination",
            )
        _check_granularity(granularity)
        if len(self._name.encode()) > MAXIMUM_NAME_BYTES:
            raise StreamError(errno.EINVAL, "Bitmap name too long")
        persistent = bool(flags & form.PERSISTENT)
        if self._given is not None and self._given.persistent is not None:
            persistent = self._given.persistent
        bitmap = DirtyBitmap(node.length, granularity, self._name, enabled=False)
        node.bitmaps.add(bitmap)
        self._bitmap = bitmap
        enabled = bool(flags & form.ENABLED)
        self._bitmaps.insert(0, _Incoming(node, bitmap, enabled))
        if flags & form.RESERVED:
            complaint = f"Unknown flags in migrated dirty bitmap header: {flags:x}"
            raise StreamError(errno.EINVAL, complaint)
        bitmap.persistent = persistent
        if enabled:
            create_successor(node, bitmap)
        else:
            bitmap.busy = True

    def _load_complete(self) -> None:
        if self._cancelled:
            return
        node, bitmap = self._node, self._bitmap
        assert node is not None
        assert bitmap is not None
        if bitmap.successor is not None:
            reclaim(node, bitmap)
        else:
            bitmap.busy = False
        for incoming in self._bitmaps:
            if incoming.bitmap is bitmap:
                incoming.complete = True
                if self._guest_started:
                    self._bitmaps.remove(incoming)
                break

    async def _load_bits(self, stream: Input) -> None:
        offset = await stream.number(8) * SECTOR
        length = await stream.number(4) * SECTOR
        if self._flags & form.ZEROES:
            if not self._cancelled:
                self._check_area(offset)
                assert self._bitmap is not None
                self._bitmap.reset(offset, length)
            return
        size = await stream.number(8)
        if size > _LONGEST_PIECE:
            raise StreamError(
                errno.EIO, "Bitmap migration stream buffer allocation request is too large"
            )
        bits = await stream.read(size)
        if self._cancelled:
            return
        bitmap = self._bitmap
        assert bitmap is not None
        granules = -(-length // bitmap.granularity)
        needed = form.padded(-(-granules // 8), form.WORD)
        if not needed <= size <= form.padded(needed, form.ALIGN):
            self._spoil(
                "Migrated bitmap granularity doesn't match the destination bitmap"
                f" '{bitmap.name}' granularity"
            )
            return
        self._check_area(offset)
        bitmap.load_chunk(offset, bits[: -(-granules // 8)])

    def _check_area(self, offset: int) -> None:
        """Refuse bits that the bitmap has no place for."""
        bitmap = self._bitmap
        assert bitmap is not None
        if offset >= max(1, bitmap.size) or offset % (8 * bitmap.granularity):
            raise StreamError(errno.EINVAL)


def _check_granularity(granularity: int) -> None:
    if granularity < MINIMUM_GRANULARITY or granularity & (granularity - 1):
        raise StreamError(errno.EINVAL)

"""preallocate: a filter that has the file grow ahead of writes, in large steps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from qmpd.block.drivers.filter import Filter
from qmpd.block.permissions import RESIZE, WRITE
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.node import Node
    from qmpd.block.reopen import ReopenState

_SECTOR = 512
_DEFAULT_ALIGN = 1 << 20
_DEFAULT_SIZE = 128 << 20
_BOTH = WRITE | RESIZE


class Preallocate(Filter):
    """Zeroes are written ahead while the node may be written and resized; the rest is cut off
    when it no longer may.

    `data_end`: where the data end, as the node shows it.  `file_end`: where the file really ends.
    Both are None while nothing is known of them.
    """

    format_name = "preallocate"
    can_reopen = True
    mutable_options = ("prealloc-align", "prealloc-size")
    strong_options = ("prealloc-align", "prealloc-size")

    def __init__(self, node: Node, align: int, size: int) -> None:
        super().__init__(node)
        self.align = align
        self.size = size
        self.data_end: int | None = None
        self.file_end: int | None = None

    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        """See `BlockDriver.open`."""
        return cls(node, *_read(node.children["file"].node, options))

    async def reopen_prepare(self, state: ReopenState) -> None:
        """See `BlockDriver.reopen_prepare`."""
        state.data = _read(self.filtered, state.options)

    async def reopen_commit(self, state: ReopenState) -> None:
        """See `BlockDriver.reopen_commit`."""
        self.align, self.size = state.data

    async def close(self) -> None:
        """Cut off what was allocated ahead."""
        with suppress(BlockIOError):
            await self._cut()

    async def inactivate(self) -> None:
        """See `BlockDriver.inactivate`."""
        await self._cut()

    async def _cut(self) -> None:
        end, self.data_end = self.data_end, None
        if self.file_end is not None and end is not None and self.file_end > end:
            await self.filtered.truncate(end, exact=True)
        self.file_end = None

    @classmethod
    def child_permissions(cls, node: Node, role: int, perm: int, shared: int) -> tuple[int, int]:
        """See `BlockDriver.child_permissions`: who allocates ahead is alone."""
        if perm & _BOTH == _BOTH and node.writable:
            return perm, shared & ~_BOTH
        return perm, shared

    @property
    def _may_allocate(self) -> bool:
        edge = self.node.filter_or_backing_edge
        return edge is not None and edge.perm & _BOTH == _BOTH

    def get_length(self) -> int:
        """What was allocated ahead is not shown."""
        return self.filtered.length if self.data_end is None else self.data_end

    async def _ahead(self, offset: int, length: int, *, zeroes: bool) -> bool:
        """Allocate ahead of a write; returns whether zeroes are there already."""
        if not self._may_allocate:
            return False
        if self.data_end is None or self.file_end is None:
            self.data_end = self.file_end = self.filtered.length
        end = offset + length
        if end <= self.data_end:
            return False
        were_zero = offset >= self.data_end
        self.data_end = end
        if end <= self.file_end:
            return zeroes and were_zero
        start = -(-(offset if zeroes else end) // self.align) * self.align
        stop = -(-(end + self.size) // self.align) * self.align
        try:
            await self.filtered.pwrite_zeroes(start, stop - start, no_fallback=True)
        except BlockIOError:
            self.file_end = None
            return False
        self.file_end = stop
        return zeroes and were_zero and start <= offset

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """See `BlockDriver.pwrite`."""
        await self._ahead(offset, len(data), zeroes=False)
        await self.filtered.pwrite(offset, data, fua=fua)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """See `BlockDriver.pwrite_zeroes`."""
        if not await self._ahead(offset, length, zeroes=True):
            await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length; growing may be done already."""
        if self.data_end is not None and self.file_end is not None and prealloc == "off":
            if self.data_end <= size <= self.file_end:
                self.data_end = size
                return
            await self.filtered.truncate(self.data_end, exact=True)
        await self.filtered.truncate(size, exact=exact, prealloc=prealloc)
        if self.data_end is not None:
            self.data_end = self.file_end = self.filtered.length


def _read(file: Node, options: Mapping[str, Any]) -> tuple[int, int]:
    """Alignment and step.

    :raises GenericError: the alignment cannot be
    """
    align = options.get("prealloc-align", _DEFAULT_ALIGN)
    if align % _SECTOR or align <= 0:
        raise GenericError(
            f"prealloc-align parameter of preallocate filter is not aligned to {_SECTOR}"
        )
    below = file.request_alignment
    if align % below:
        raise GenericError(
            "prealloc-align parameter of preallocate filter is not aligned to underlying node"
            f" request alignment ({below})"
        )
    return align, options.get("prealloc-size", _DEFAULT_SIZE)

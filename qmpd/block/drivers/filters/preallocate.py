"""preallocate: a filter that grows its file ahead of writes, in large steps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.base.sizes import SECTOR
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.model.driver import check_sizes
from qmpd.block.permission_bits import RESIZE, WRITE, Perm, Permissions, Role
from qmpd.errors import BlockIOError, GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.node import Node

_DEFAULT_ALIGN = 1 << 20
_DEFAULT_SIZE = 128 << 20
_BOTH = WRITE | RESIZE


class Preallocate(Filter):
    """Preallocates zeroes while it holds WRITE and RESIZE; cuts the unused rest off when it loses
    one of them.

    `data_end`: end of the data, the length of the node.  `zero_start`: from there on the file is
    known to read as zeroes.  `file_end`: real end of the file.  Each is None while it is
    unknown.
    """

    format_name = "preallocate"
    shape = replace(Filter.shape, needed_options=("prealloc-align", "prealloc-size"))
    runtime_options = {"prealloc-align": Kind.SIZE, "prealloc-size": Kind.SIZE}
    capabilities = replace(Filter.capabilities, reopen=True, flushes_children=True)

    def __init__(self, node: Node, align: int, size: int) -> None:
        super().__init__(node)
        self.align = align
        self.size = size
        self.data_end: int | None = None
        self.zero_start: int | None = None
        self.file_end: int | None = None
        self._wanted = 0

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        return cls(node, *_read(node.children["file"].node, options))

    @override
    async def reopen_prepare(self, state: ReopenState) -> None:
        state.data = _read(self.filtered, state.options)
        if state.flags.read_only:
            await self._cut()

    @override
    async def reopen_commit(self, state: ReopenState) -> None:
        self.align, self.size = state.data

    @override
    def prepare_permissions(self, perm: Perm, shared: Perm) -> None:
        self._wanted = perm

    def commit_permissions(self) -> None:
        """When write or resize permission is lost, truncate the tail after the change."""
        if self._wanted & _BOTH != _BOTH and self.data_end is not None:
            self.node.in_flight += 1
            self.node.services.loop.enter(
                self.close(), "drop preallocation", lambda _: self.node.request_ended()
            )

    async def close(self) -> None:
        """Truncate the preallocated tail."""
        with suppress(BlockIOError):
            await self._cut()

    @override
    async def inactivate(self) -> None:
        await self._cut()

    async def _cut(self) -> None:
        """Truncate the preallocated tail and forget what is known about the file."""
        data_end, file_end = self.data_end, self.file_end
        self._know(None)
        if data_end is None:
            return
        if data_end < (self.filtered.length if file_end is None else file_end):
            await self.filtered.truncate(data_end, exact=True)

    def _know(self, end: int | None) -> None:
        self.data_end = self.zero_start = self.file_end = end

    @override
    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """Share neither writes nor resizes while the tail of the file is preallocated."""
        if perm & _BOTH == _BOTH and node.writable:
            return perm, shared & ~_BOTH
        return perm, shared

    @property
    def _may_allocate(self) -> bool:
        edge = self.node.filter_or_backing_edge
        return edge is not None and edge.perm & _BOTH == _BOTH

    def get_length(self) -> int:
        """The length without the preallocated tail."""
        return self.filtered.length if self.data_end is None else self.data_end

    async def _ahead(self, offset: int, length: int, *, zeroes: bool) -> bool:
        """Preallocate for a write; returns whether its area reads as zeroes already."""
        if not self._may_allocate:
            return False
        file = self.filtered
        if self.data_end is None:
            self._know(file.length)
        end = offset + length
        if self.data_end is None or end <= self.data_end:
            return False
        self.data_end = end
        if self.zero_start is None or not zeroes:
            self.zero_start = end
        if self.file_end is None:
            self.file_end = file.length
        if end <= self.file_end:
            return zeroes and offset >= self.zero_start
        start = min(offset, self.file_end) if zeroes else self.file_end
        start = _align_up(start, file.request_alignment)
        stop = _align_up(max(start, end) + self.size, self.align)
        try:
            await file.pwrite_zeroes(start, stop - start, no_fallback=True)
        except BlockIOError:
            self.file_end = None
            return False
        self.file_end = stop
        return zeroes and start <= offset

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        await self._ahead(offset, len(data), zeroes=False)
        await self.filtered.pwrite(offset, data, fua=fua)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        if not await self._ahead(offset, length, zeroes=not may_unmap):
            await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length; the preallocated tail may already cover what is added."""
        file = self.filtered
        if self.data_end is not None and size > self.data_end:
            if self.file_end is None:
                self.file_end = file.length
            if prealloc == "falloc":
                if size <= self.file_end:
                    self.data_end = size
                    return
            elif self.file_end > self.data_end:
                await self._drop(self.data_end)
            self.data_end = size
        try:
            await file.truncate(size, exact=exact, prealloc=prealloc)
        except BlockIOError:
            self._know(None)
            raise
        if self._may_allocate:
            self._know(size)

    async def _drop(self, end: int) -> None:
        try:
            await self.filtered.truncate(end, exact=True)
        except BlockIOError as error:
            self.file_end = None
            raise error.prefixed(
                "preallocate-filter: failed to drop write-zero preallocation: "
            ) from error
        self.file_end = end


def _align_up(value: int, align: int) -> int:
    return -(-value // align) * align


def _read(file: Node, options: Mapping[str, Any]) -> tuple[int, int]:
    """Read the options: alignment and step, bytes.

    :raises GenericError: the alignment is not usable
    """
    check_sizes(options, Preallocate.shape.needed_options)
    align = options.get("prealloc-align", _DEFAULT_ALIGN)
    if align % SECTOR:
        raise GenericError(
            f"prealloc-align parameter of preallocate filter is not aligned to {SECTOR}"
        )
    below = file.request_alignment
    if align % below:
        raise GenericError(
            "prealloc-align parameter of preallocate filter is not aligned to underlying node"
            f" request alignment ({below})"
        )
    return align or SECTOR, options.get("prealloc-size", _DEFAULT_SIZE)

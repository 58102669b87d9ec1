"""copy-on-read: a filter that stores in its file what it reads from the file's backing chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.change.replace import freeze_chain, unfreeze_chain
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.io.chain_status import is_allocated_above
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    RESIZE,
    WRITE,
    WRITE_UNCHANGED,
    Perm,
    Permissions,
    Role,
)
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

_PASSED = CONSISTENT_READ | WRITE | RESIZE


class CopyOnRead(Filter):
    """Stores what is read in the file; with `bottom`, only data from that node or above it."""

    format_name = "copy-on-read"
    capabilities = replace(Filter.capabilities, write_compressed=True)
    runtime_options = {"bottom": Kind.STRING}

    def __init__(self, node: Node, bottom: Node | None) -> None:
        super().__init__(node)
        self.bottom = bottom

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        name = options.get("bottom")
        bottom: Node | None = None
        if name is not None:
            bottom = node.graph.find_node(name)
            if bottom is None:
                raise GenericError(f"Bottom node '{name}' not found")
            # the node that is being opened has no driver yet
            if bottom is not node and bottom.driver.gone:
                raise GenericError(f"Bottom node '{name}' not opened")
            if bottom.driver_class.shape.is_filter:
                raise GenericError(f"Bottom node '{name}' is a filter")
            freeze_chain(node, bottom)
        return cls(node, bottom)

    @override
    async def close(self) -> None:
        self.release_bottom()

    def release_bottom(self) -> None:
        """Unfreeze the chain down to the bottom node."""
        if self.bottom is not None:
            unfreeze_chain(self.node, self.bottom)
            self.bottom = None

    @override
    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """Ask for WRITE_UNCHANGED too: what is written back is what was read."""
        wanted = perm & _PASSED
        if node.active:
            wanted |= WRITE_UNCHANGED
        return wanted, shared & _PASSED | ALL & ~_PASSED

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        if self.bottom is None:
            return await self.filtered.pread_copying(offset, length)
        return await self._read_above(offset, length, prefetch=False)

    async def prefetch(self, offset: int, length: int) -> None:
        """Copy an area into the file without returning its data."""
        if self.bottom is None:
            await self.filtered.pread_copying(offset, length, prefetch=True)
        else:
            await self._read_above(offset, length, prefetch=True)

    async def _read_above(self, offset: int, length: int, *, prefetch: bool) -> bytes:
        pieces: list[bytes] = []
        below = self.filtered.backing_chain_next
        while length > 0:
            copying = False
            allocated, count = await self.filtered.is_allocated(offset, length)
            if not allocated and below is not None:
                copying, count = await is_allocated_above(
                    below, self.bottom, offset, count, include_base=True
                )
            count = count or length
            if copying:
                data = await self.filtered.pread_copying(offset, count, prefetch=prefetch)
                pieces.append(data)
            elif not prefetch:
                pieces.append(await self.filtered.pread(offset, count))
            offset += count
            length -= count
        return b"".join(pieces)

    def can_write_compressed(self) -> bool:
        """Whether the file can."""
        return self.filtered.driver.can_write_compressed()

    @override
    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        await self.filtered.pwrite_compressed(offset, data)


__all__ = ["CopyOnRead"]

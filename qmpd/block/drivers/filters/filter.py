"""Base classes of filters: whatever they do not implement goes to the filtered child."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.filename import filename
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import FILTERED, PRIMARY, Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from qmpd.block.model.node import Node


class PassThrough(BlockDriver):
    """A driver that passes every request on to its filtered child."""

    @property
    def filtered(self) -> Node:
        """The filtered child."""
        below = self.node.filter_or_backing
        assert below is not None
        return below

    @override
    def has_info(self) -> bool:
        below = self.node.filter_or_backing
        return below is not None and below.driver.has_info()

    @override
    def get_length(self) -> int:
        return self.filtered.length

    @override
    def cluster_size(self) -> int | None:
        return self.filtered.driver.cluster_size()

    async def info_members(self) -> dict[str, Any]:
        """The child's information on its clusters."""
        below = self.node.filter_or_backing
        members = {} if below is None else await below.driver.info_members()
        return {name: members[name] for name in ("cluster-size", "dirty-flag") if name in members}

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        return await self.filtered.pread(offset, length)

    @override
    async def block_status(self, offset: int, length: int) -> BlockStatus:
        return await self.filtered.block_status(offset, length)

    @override
    async def flush(self) -> None:
        """Flush the filtered child, written to by this node or not, if the driver sees to it."""
        if self.capabilities.flushes_children and self.node.filter_or_backing is not None:
            await self.filtered.flush()


class JobFilter(PassThrough):
    """A filter inserted by a job; its filtered child is called `backing`.

    It is opened without a child, and has no length until it is attached above one.
    """

    shape = Shape(is_filter=True, filtered_child_is_backing=True, never_freeze=True)

    @override
    def get_length(self) -> int:
        return self.filtered.length if "backing" in self.node.children else 0

    def exact_filename(self) -> str | None:
        """The name of the child, even a ``json:`` one."""
        return filename(self.filtered)


class Filter(PassThrough):
    """A filter above its `file` child (or whatever the driver calls it)."""

    shape = Shape(is_filter=True, file_child=True)
    capabilities = Capabilities(write_zeroes=True, discard=True)

    @classmethod
    @override
    def file_role(cls, options: Mapping[str, Any]) -> Role:
        return FILTERED | PRIMARY

    @override
    def subcluster_size(self) -> int | None:
        return self.filtered.driver.subcluster_size()

    @override
    def vm_state_offset(self) -> int:
        return self.filtered.driver.vm_state_offset()

    @override
    def zeroes_without_fallback(self) -> bool:
        return self.filtered.driver.zeroes_without_fallback()

    @override
    def zeroes_may_unmap(self) -> bool:
        return self.filtered.driver.zeroes_may_unmap()

    def allocated_size(self) -> int | None:
        """That of the filtered child; other children do not count.

        A stream that has ended keeps its filter, without a child, until it is dismissed: queries
        are answered then, too.  QEMU 10.0 dies of them.
        """
        below = self.node.filter_or_backing
        if below is None or not self.capabilities.allocated_size:
            return None
        return below.driver.allocated_size()

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        await self.filtered.pwrite(offset, data, fua=fua)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        await self.filtered.pdiscard(offset, length)

    @override
    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        await self.filtered.truncate(size, exact=exact, prealloc=prealloc)

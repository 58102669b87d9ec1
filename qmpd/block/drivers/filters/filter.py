"""What filters have in common: everything goes to the child they filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.permission_bits import FILTERED, PRIMARY, Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from qmpd.block.model.node import Node


class Filter(BlockDriver):
    """A filter above its `file` child, or whatever that child is called."""

    is_filter = True
    file_child = True
    can_write_zeroes = True
    can_discard = True
    can_truncate = True

    @classmethod
    def file_role(cls, options: Mapping[str, Any]) -> Role:
        """See `BlockDriver.file_role`."""
        return FILTERED | PRIMARY

    @property
    def filtered(self) -> Node:
        """The child that is filtered."""
        below = self.node.filter_or_backing
        assert below is not None
        return below

    @property
    def has_info(self) -> bool:  # type: ignore[override]
        """QEMU asks the filtered child."""
        return self.filtered.driver.has_info

    def get_length(self) -> int:
        """See `BlockDriver.get_length`."""
        return self.filtered.length

    def cluster_size(self) -> int | None:
        """As the child has."""
        return self.filtered.driver.cluster_size()

    def subcluster_size(self) -> int | None:
        """As the child has."""
        return self.filtered.driver.subcluster_size()

    def vm_state_offset(self) -> int:
        """As the child has."""
        return self.filtered.driver.vm_state_offset()

    def zeroes_without_fallback(self) -> bool:
        """As the child can."""
        return self.filtered.driver.zeroes_without_fallback()

    def zeroes_may_unmap(self) -> bool:
        """As the child can."""
        return self.filtered.driver.zeroes_may_unmap()

    def allocated_size(self) -> int | None:
        """As the child has, whatever others there are."""
        return self.filtered.driver.allocated_size() if self.has_allocated_size else None

    async def pread(self, offset: int, length: int) -> bytes:
        """See `BlockDriver.pread`."""
        return await self.filtered.pread(offset, length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """See `BlockDriver.pwrite`."""
        await self.filtered.pwrite(offset, data, fua=fua)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """See `BlockDriver.pwrite_zeroes`."""
        await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    async def pdiscard(self, offset: int, length: int) -> None:
        """See `BlockDriver.pdiscard`."""
        await self.filtered.pdiscard(offset, length)

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """The child's."""
        return await self.filtered.block_status(offset, length)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Resize the child."""
        await self.filtered.truncate(size, exact=exact, prealloc=prealloc)

    async def info_members(self) -> dict[str, Any]:
        """What the child tells of its clusters."""
        members = await self.filtered.driver.info_members()
        return {name: members[name] for name in ("cluster-size", "dirty-flag") if name in members}

"""What filters have in common that save old data before it is overwritten."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.drivers.filters.filter import PassThrough

if TYPE_CHECKING:
    from qmpd.block.io.block_copy import BlockCopyState


class SavingFilter(PassThrough):
    """Has an area saved before a write, or a discard, is passed on to the filtered child."""

    copy: BlockCopyState
    """What is saved, and where to."""

    @abstractmethod
    async def save(self, offset: int, length: int) -> None:
        """Save what the guest is about to change.

        :param offset: start of a cluster of `copy`
        :param length: bytes, whole clusters
        :raises BlockIOError: it cannot be saved, and the guest's request is to fail
        """

    async def _save(self, offset: int, length: int) -> None:
        size = self.copy.cluster_size
        start, end = offset // size * size, -(-(offset + length) // size) * size
        await self.save(start, end - start)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        await self._save(offset, len(data))
        await self.filtered.pwrite(offset, data, fua=fua)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        await self._save(offset, length)
        await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        await self._save(offset, length)
        await self.filtered.pdiscard(offset, length)

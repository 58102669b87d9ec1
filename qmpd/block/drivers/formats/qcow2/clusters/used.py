"""Which clusters of an image are in use, by the refcounts in its file."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.header.layout import REFT_OFFSET_MASK
from qmpd.block.drivers.formats.qcow2.refcounts.codec import decode_refcounts, last_used
from qmpd.block.drivers.formats.qcow2.tables.held import HeldFile

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.model.node import Node


class Used:
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

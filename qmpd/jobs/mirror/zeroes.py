"""Where the target of a mirror is known to read as zeroes, so that none need be written.

Rule `mirror-skips-zeroes`: a version without it knows nothing of the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyroaring import BitMap64

from qmpd.block.io.chain_status import block_status_above

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


_MOST_READ: Final = 128 << 10


class TargetZeroes:
    """The chunks of a target that read as zeroes.

    :param granularity: bytes of a chunk
    """

    def __init__(self, granularity: int) -> None:
        self._granularity = granularity
        self._chunks = BitMap64()

    def covers(self, offset: int, length: int) -> bool:
        """Whether all of the area reads as zeroes."""
        first, end = self._touched(offset, length)
        return self._chunks.range_cardinality(first, end) == end - first

    def wrote(self, offset: int, length: int) -> None:
        """Anything may be in the area."""
        self._chunks.remove_range(*self._touched(offset, length))

    def zeroed(self, offset: int, length: int, end_of_target: int) -> None:
        """The area reads as zeroes."""
        first = -(-offset // self._granularity)
        end = offset + length
        whole = -(-end // self._granularity) if end == end_of_target else end // self._granularity
        if first < whole:
            self._chunks.add_range(first, whole)

    def _touched(self, offset: int, length: int) -> tuple[int, int]:
        return offset // self._granularity, -(-(offset + length) // self._granularity)


async def reads_as_zeroes(node: Node) -> bool:
    """Whether the whole of `node` is known to read as zeroes (``bdrv_co_is_all_zeroes``).

    :raises BlockIOError: its status cannot be told
    """
    offset = 0
    while offset < node.length:
        status = await block_status_above(node, None, offset, node.length - offset)
        if not status.zero and not (offset == 0 and await _begins_with_zeroes(node, status.length)):
            return False
        offset += status.length
    return True


async def _begins_with_zeroes(node: Node, length: int) -> bool:
    """Whether the first bytes are zeroes: the first block of a file is often written with them."""
    return length <= _MOST_READ and not any(await node.pread(0, length))

"""What an area of a chain holds, seen from its top: QEMU's block status above a base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.model.data import BlockStatus

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


async def block_status_above(
    top: Node, base: Node | None, offset: int, length: int, *, include_base: bool = False
) -> BlockStatus:
    """What the area from `offset` reads as, down to `base` (not included); None: the whole chain.

    The status of the first node from `top` downwards that holds the area itself, and as far as
    it is uniform.  Where a node is shorter than those above it, zeroes are read.

    :param offset: bytes
    :param length: bytes; the status is of that many at most, of none behind the end of `top`
    """
    status = await top.block_status(offset, length)
    below = top.filter_or_backing
    if not status.length or status.allocated or top is base:
        return status
    while below is not None and (include_base or below is not base):
        length = status.length
        status = await below.block_status(offset, length)
        if not status.length:
            return BlockStatus(length, data=False, zero=True, allocated=True)
        if status.allocated or below is base:
            break
        below = below.filter_or_backing
    return status


async def is_allocated_above(
    top: Node, base: Node | None, offset: int, length: int, *, include_base: bool = False
) -> tuple[bool, int]:
    """Whether any node from `top` down to `base` holds the area, and for how many bytes."""
    status = await block_status_above(top, base, offset, length, include_base=include_base)
    return status.allocated, status.length

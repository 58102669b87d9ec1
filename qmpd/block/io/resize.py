"""Command block_resize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.change.drain import drained
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.blockers import Op
from qmpd.block.permission_bits import RESIZE
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


async def block_resize(node: Node, size: int) -> None:
    """Command block_resize.

    :param size: bytes
    :raises QmpError: QEMU's texts
    """
    if size < 0:
        raise GenericError("Parameter 'size' expects a >0 size")
    node.check_operation(Op.RESIZE)
    backend = await BlockBackend.on(node, perm=RESIZE)
    try:
        await drained(node.graph, [node], backend.truncate(size, exact=False))
    finally:
        await backend.close()

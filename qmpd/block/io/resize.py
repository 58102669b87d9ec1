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


async def block_resize(node: Node, size: int, device: str | None = None) -> None:
    """Command block_resize.

    :param size: bytes
    :param device: what the node was asked for by, if by a device
    :raises QmpError: QEMU's texts
    """
    if size < 0:
        raise GenericError("Parameter 'size' expects a >0 size")
    try:
        node.check_operation(Op.RESIZE)
    except GenericError:
        if not node.services.manners.resize_says_in_use:
            raise
        name = "(null)" if device is None else device
        raise GenericError(f"Device '{name}' is in use") from None
    backend = await BlockBackend.on(node, perm=RESIZE)
    try:
        await drained(node.graph, [node], backend.truncate(size, exact=False))
    finally:
        await backend.close()

"""The node of a ``-drive``, from its file name and options (``blk_new_open``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.change.opening import open_flat
from qmpd.block.model.flat_options import FlatOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


async def open_drive_node(
    graph: Graph, filename: str | None, options: Mapping[str, str], aio: str | None
) -> Node:
    """Open the node of a drive.

    :param filename: what `file` says
    :param options: all others, by their dotted names
    :param aio: the asynchronous I/O of the files, as `aio` says.  To QEMU it is a flag of the nodes
        (``BDRV_O_NATIVE_AIO``) and not among their options, so that a reopen need not repeat it
    :raises QmpError: with QEMU's text; nothing is left open then
    """
    return await open_flat(
        graph, filename, FlatOptions(options), active=not graph.incoming, aio=aio
    )

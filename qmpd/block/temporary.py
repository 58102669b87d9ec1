"""Temporary overlays: a drive whose writes are lost when it is closed (snapshot=on)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers import find_driver
from qmpd.block.images import MemoryStorage

if TYPE_CHECKING:
    from qmpd.block.graph import Graph
    from qmpd.block.node import Node

NAME = "/vl.temporary"


async def add_temporary_overlay(graph: Graph, node: Node) -> Node:
    """Put an image in memory in front of `node`, which is not written any more.

    :raises QmpError: somebody objects
    """
    storage = graph.storage
    graph.storage = MemoryStorage()
    try:
        file = {"driver": "file", "filename": NAME}
        await find_driver("file").create(graph, {**file, "size": 0})
        await find_driver("qcow2").create(
            graph, {"driver": "qcow2", "file": file, "size": node.length}
        )
        overlay = await graph.open({"driver": "qcow2", "file": file, "backing": None})
    finally:
        graph.storage = storage
    overlay.options.pop("backing", None)
    await graph.append(overlay, node).commit()
    if not node.read_only:
        await node.set_read_only(True)
    return overlay

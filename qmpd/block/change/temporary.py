"""Temporary overlays: a drive whose writes are lost when it is closed (snapshot=on)."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.opening import open_node
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import append
from qmpd.block.model.driver_table import find_creator

if TYPE_CHECKING:
    from random import Random

    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

_LETTERS: Final = string.ascii_letters + string.digits


def _letters(random: Random) -> str:
    """The end of the name of a temporary file, which this one only is in name."""
    return "".join(random.choices(_LETTERS, k=6))


async def add_temporary_overlay(graph: Graph, node: Node, *, read_only: bool) -> Node:
    """Put an image in memory in front of `node`, which is opened read-only.

    :param read_only: whether the image is not written either
    :raises QmpError: somebody objects, or there is no place for temporary files
    """
    services = graph.services
    filename = services.storage.temporary_name(_letters(services.random))
    with graph.services.storage.private(filename):
        file = {"driver": "file", "filename": filename}
        await find_creator("file").create(graph, {**file, "size": 0})
        await find_creator("qcow2").create(
            graph, {"driver": "qcow2", "file": file, "size": node.length}
        )
        options = {"driver": "qcow2", "file": file, "backing": None, "cache": {"no-flush": True}}
        if node.unmap:
            options["discard"] = "unmap"
        overlay = await open_node(graph, options, active=node.active)
        if read_only:
            await set_read_only(overlay, True)
    overlay.options = overlay.options.without("backing")
    async with write_lock(graph):
        change = append(overlay, node)
    await change.commit()
    return overlay

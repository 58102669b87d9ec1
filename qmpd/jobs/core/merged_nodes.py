"""Holding the images that a commit merges into the one below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.permission_bits import (
    CONSISTENT_READ,
    NOTHING,
    WRITE,
    WRITE_UNCHANGED,
    GraphMod,
)

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.block_job import BlockJob


def hold_merged(job: BlockJob, first: Node | None, base: Node, overlay: Node | None) -> None:
    """Hold the nodes from `first` down to, not including, `base`: they are gone in the end.

    Meanwhile they show what `base` has got already, so that nobody else is to read them
    consistently; filters above `base` itself show what it shows.

    :param overlay: the lowest image above `base`
    :raises GenericError: permissions conflict
    """
    shared = WRITE_UNCHANGED | WRITE
    filtered_base = None if overlay is None else overlay.backing
    node = first
    while node is not None and node is not base:
        if node is filtered_base:
            shared |= CONSISTENT_READ
        job.add_node("intermediate node", node, NOTHING, shared, GraphMod.KEPT)
        node = node.filter_or_backing

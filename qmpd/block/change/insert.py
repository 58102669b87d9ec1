"""Nodes that are put above others, and taken out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from qmpd.block.change.closing import release, unref
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.opening import open_node
from qmpd.block.change.replace import GraphChange, append, remove_filter, replace_node, set_backing
from qmpd.errors import QmpError

if TYPE_CHECKING:
    from qmpd.block.change.opening_driver import Opener
    from qmpd.block.model.node import Node


async def insert_node(node: Node, options: Mapping[str, Any], opener: Opener | None = None) -> Node:
    """Open a node that stands on `node`, and let it take its place (``bdrv_insert_node``).

    :param opener: opens the driver, with what options cannot say; the driver's `open` if absent
    :raises QmpError: it cannot be opened, or somebody objects; nothing has changed then
    """
    try:
        new = await open_node(node.graph, options, whole=False, opener=opener)
    except QmpError as error:
        raise error.prefixed("Could not create node: ") from None
    try:
        await _put_in_place(new, node, replace_node, brief=True)
    except QmpError as error:
        raise error.prefixed("Could not replace node: ") from None
    return new


async def insert_filter(
    node: Node,
    options: Mapping[str, Any],
    opener: Opener | None = None,
    *,
    implicit: bool = False,
    objection: str = "",
) -> Node:
    """Open a filter and put it above `node` (``bdrv_append``).

    :param options: the filter's, its child left out
    :param opener: opens the driver, with what options cannot say; the driver's `open` if absent
    :param implicit: most queries are not to show it
    :param objection: comes before what is said if somebody objects to its place
    :raises QmpError: it cannot be opened, or somebody objects; nothing has changed then
    """
    new = await open_node(node.graph, options, whole=False, for_job=True, opener=opener)
    new.implicit = implicit
    try:
        await _put_in_place(new, node, lambda old, new: append(new, old))
    except QmpError as error:
        raise error.prefixed(objection) from None
    return new


async def _put_in_place(
    new: Node, old: Node, change: Callable[[Node, Node], GraphChange], *, brief: bool = False
) -> None:
    """Let `new` take the place of `old`, or close it if somebody objects."""
    await drained_begin(old)
    try:
        async with write_lock(old.graph, brief=brief):
            done = change(old, new)
        await done.commit()
    except BaseException:
        await unref(new)
        raise
    finally:
        drained_end(old)


async def drop_filter(node: Node) -> None:
    """Take a filter out; it is closed unless something else holds it (``bdrv_drop_filter``)."""
    below = node.filter_or_backing
    assert below is not None
    await drained_begin(below)
    try:
        node.hold()
        async with write_lock(node.graph, brief=True):
            change = remove_filter(node)
        below.hold()
        await change.commit()
    finally:
        drained_end(below)
    await release(node)
    await release(below)


async def change_backing(node: Node, backing: Node | None) -> None:
    """Give `node` another backing file, or none (``bdrv_set_backing_hd``).

    :raises QmpError: it cannot have one, a job relies on the link, or somebody objects
    """
    async with standstill(node.graph):
        async with write_lock(node.graph, node):
            change = set_backing(node, backing)
        await change.commit()

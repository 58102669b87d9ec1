"""A node that is reopened by options as a command line has them: qemu-io's reopen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.block.change.reopen import Step, reopen_multiple
from qmpd.block.model.flags import NodeFlags
from qmpd.block.model.flat_options import (
    COMMON,
    ChildOptions,
    FlatOptions,
    check_common_words,
    read_common,
)
from qmpd.block.model.node_options import NodeOptions
from qmpd.block.permission_bits import COW
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


async def reopen_flat(node: Node, flat: FlatOptions) -> None:
    """Change some options of a node and of those that follow it (``bdrv_reopen``).

    What is not named stays as it is, or goes on following the node above.

    :param flat: they are used up
    :raises QmpError: QEMU's texts; nothing has changed then
    """
    queue: list[Step] = []
    _enqueue(queue, node, flat)
    await reopen_multiple(node.graph, queue, keep_old=True)


def _enqueue(
    queue: list[Step],
    node: Node,
    flat: FlatOptions,
    above: Mapping[str, Any] | None = None,
    *,
    backing: bool = False,
) -> None:
    """Put a node into the queue, and those that follow it.

    :param above: the new options of the node above
    """
    following = {
        name: edge for name, edge in node.children.items() if edge.node.inherits_from is node
    }
    inside = {name: flat.child(name) for name in following}
    options = _merged(node, flat)
    if above is not None:
        options = options.under(above, backing=backing)
    references = {name: child.reference for name, child in inside.items() if child.reference}
    options = options.changed(references) if references else options
    flags = NodeFlags.of_options(options, active=node.active, unmap=node.unmap, aio=node.flags.aio)
    queue.append(
        Step(node=node, options=options, flags=flags, before=node.flags, backing_missing=False)
    )
    for name, edge in following.items():
        child = edge.node
        if references.get(name, child.node_name) == child.node_name:
            _enqueue(queue, child, inside[name].options, options, backing=bool(edge.role & COW))


def _merged(node: Node, flat: FlatOptions) -> NodeOptions:
    """The options of a node with those that are new.

    :raises GenericError: one of them is malformed, or cannot be changed
    """
    words = FlatOptions(flat.take(COMMON))
    check_common_words(words)
    new = read_common(words)
    strong = {name: flat.tree(name) for name in node.driver.shape.strong_options}
    if flat:
        taken = node.driver.take_options(flat)
        new |= {name: value for name, value in taken.items() if not _is_child(value)}
    for name in flat.order():
        raise GenericError(f"Cannot change the option '{name}'")
    texts = {name: text for name, text in strong.items() if text not in ({}, new.get(name))}
    old = node.options
    return NodeOptions(
        _joined(old, new),
        given=_joined(old.given, new),
        texts={**old.texts, **texts},
        probed=old.probed,
        reopened=old.reopened,
    )


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**old, **new}
    if "cache" in new:
        joined["cache"] = {**old.get("cache", {}), **new["cache"]}
    return joined


def _is_child(value: object) -> bool:
    return isinstance(value, ChildOptions) or (
        isinstance(value, list) and any(isinstance(each, ChildOptions) for each in value)
    )

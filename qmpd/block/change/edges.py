"""Edges that come and go: what a node gets and loses with them.

`link` and `unlink` do what QEMU's ``bdrv_replace_child_noperm`` does, without a look at
permissions; `attach_child` is ``bdrv_attach_child``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from qmpd.block.change.aio_context import come_together
from qmpd.block.change.drain import joined, left
from qmpd.block.change.inheritance import disinherit
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.model.blockers import BACKING_ALLOWS, Blocker
from qmpd.block.model.node import Edge
from qmpd.block.permission_bits import COW
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.block.permission_bits import Role

LONGEST_CHAIN: Final = 200
"""Most nodes below each other, as many as libvirt follows.  Requests go down by calls, for which
Python has a limit of its own."""


def attach_child(parent: Node, name: str, child: Node, role: Role) -> Edge:
    """Make `child` a child of `parent`.

    :param name: what the child is called there
    :raises GenericError: that is a cycle, the child is inactive, its parents object, or the two
        are in different iothreads and must stay there
    """
    check_child(parent, name, child)
    edge = Edge.child(name, parent, child, role)
    part = come_together(edge)
    link(parent, edge)
    try:
        # Some nodes ask for something only where they have parents at all.
        concerned = (parent, child) if child.driver_class.shape.depends_on_parents else (parent,)
        refresh_permissions(*concerned)
    except BaseException:
        unlink(parent, edge)
        part()
        raise
    return edge


def check_child(parent: Node, name: str, child: Node) -> None:
    """Whether `child` could be a child, as far as the two of them are concerned.

    :raises GenericError: that is a cycle, or the child is inactive
    :raises NotServed: there would be more than `LONGEST_CHAIN` nodes below each other
    """
    if parent.is_below(child):
        raise GenericError(
            f"Making '{child.node_name}' a {name} child of '{parent.node_name}'"
            " would create a cycle"
        )
    _check_depth(parent, child)
    if parent.active and not child.active:
        raise GenericError(
            f"Inactive '{child.node_name}' can't be a {name} child of active '{parent.node_name}'"
        )


def _check_depth(parent: Node, child: Node) -> None:
    if parent.graph.count <= LONGEST_CHAIN:
        return
    below = _levels(child, lambda node: [edge.node for edge in node.children.values()])
    above = _levels(parent, lambda node: [e.parent_node for e in node.parents if e.parent_node])
    if below + above > LONGEST_CHAIN:
        raise NotServed(f"qmpd does not serve chains of more than {LONGEST_CHAIN} nodes")


def _levels(node: Node, following: Callable[[Node], Iterable[Node]]) -> int:
    """The nodes on the longest way from `node`, up to one more than `LONGEST_CHAIN`."""
    count, level = 0, {node}
    while level and count <= LONGEST_CHAIN:
        count += 1
        level = {one for before in level for one in following(before)}
    return count


def link(parent: Node, edge: Edge) -> None:
    """Make the node of `edge` a child of `parent`, without a look at permissions."""
    parent.children[edge.name] = edge
    add_parent(edge)
    if edge.role & COW:
        parent.backing_blocker = Blocker(
            f"node is used as backing hd of '{parent.device_or_node_name}'", BACKING_ALLOWS
        )
        edge.node.blockers.add(parent.backing_blocker)


def unlink(parent: Node, edge: Edge) -> None:
    """Undo `link`."""
    del parent.children[edge.name]
    remove_parent(edge)
    if edge.role & COW and parent.backing_blocker is not None:
        edge.node.blockers.remove(parent.backing_blocker)
        parent.backing_blocker = None


def add_parent(edge: Edge) -> None:
    """Let `edge` hold its node, without a look at permissions."""
    edge.node.parents.add(edge)
    joined(edge)


def remove_parent(edge: Edge) -> None:
    """Undo `add_parent`."""
    edge.node.parents.remove(edge)
    left(edge)


def release_child(parent: Node, name: str) -> Node:
    """Let go of child `name`, without closing it; returns it (``bdrv_unref_child``)."""
    edge = parent.children[name]
    disinherit(parent, edge)
    unlink(parent, edge)
    loosen_permissions(edge.node)
    return edge.node

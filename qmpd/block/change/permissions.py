"""What a parent does with a child node, and what it lets the child's other parents do.

Every edge of the graph carries two sets of permissions: those its parent uses, and
those it shares.  A node takes what its parents use together and shares what all of
them share; from these follow the permissions on its own children.
`refresh_permissions` works that out downwards from a change, all or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.edge import Edge
    from qmpd.block.model.node import Node

CONSISTENT_READ: Final = 1
WRITE: Final = 2
WRITE_UNCHANGED: Final = 4
RESIZE: Final = 8
ALL: Final = 15

NAMES: Final = (
    (CONSISTENT_READ, "consistent read"),
    (WRITE, "write"),
    (WRITE_UNCHANGED, "write unchanged"),
    (RESIZE, "resize"),
)
"""Names of the permissions, in the order in which messages list them."""

PERMISSION_BITS: Final = {name.replace(" ", "-"): bit for bit, name in NAMES}
"""The permissions by their names in QAPI enum BlockPermission."""

DATA: Final = 1
METADATA: Final = 2
FILTERED: Final = 4
COW: Final = 8
PRIMARY: Final = 16
IMAGE: Final = DATA | METADATA | PRIMARY
"""Roles of a child, to be combined: what it holds for its parent."""


def permission_names(permissions: int) -> str:
    """The permissions as messages list them."""
    return ", ".join(name for bit, name in NAMES if permissions & bit)


def default_child_permissions(
    role: int, perm: int, shared: int, *, writable: bool, active: bool
) -> tuple[int, int]:
    """What a driver without rules of its own asks of a child.

    :param role: what the child holds
    :param perm: permissions that the parent's own parents use
    :param shared: permissions that they share
    :param writable: whether the parent node is
    :param active: whether the parent node is
    :returns: permissions used and shared on the child
    """
    if role & FILTERED:
        return perm, shared
    if role & COW:
        perm &= CONSISTENT_READ
        shared = WRITE | RESIZE if shared & WRITE else 0
        shared |= CONSISTENT_READ | WRITE_UNCHANGED
    else:
        if role & METADATA:
            # A format driver changes metadata even when no guest writes.
            perm |= CONSISTENT_READ | (WRITE | RESIZE if writable else 0)
            shared &= ~(WRITE | RESIZE)
        if role & DATA:
            shared &= ~RESIZE
            if perm & WRITE_UNCHANGED:
                perm |= WRITE
            if perm & WRITE:
                perm |= RESIZE
    if not active:
        shared |= WRITE | RESIZE
    return perm, shared


def refresh_permissions(*roots: Node) -> None:
    """Bring the permissions below `roots` in line with those on them.

    :raises QmpError: two parents do not agree, or a node refuses; nothing has changed then
    """
    change = _Change()
    try:
        if len(roots) != 1 or change.visit(roots[0]):
            for node in _parents_first(roots):
                if node in change.pending or (node in roots and node not in change.prepared):
                    change.visit(node)
    except BaseException:
        change.undo()
        raise
    change.keep()


class _Change:
    """A change of permissions on its way through the graph."""

    def __init__(self) -> None:
        self.pending: set[Node] = set()
        """Nodes that are used in another way and have not been asked yet."""
        self.prepared: list[Node] = []
        self._before: list[tuple[Edge, int, int]] = []

    def visit(self, node: Node) -> bool:
        """Ask `node`, and work out what it asks of its children; whether that has changed."""
        self.pending.discard(node)
        _check_parents(node)
        perm, shared = node.cumulative_permissions()
        _check_node(node, perm)
        self.prepared.append(node)
        if node.driver is not None:
            node.driver.prepare_permissions(perm, shared)
        for edge in node.children.values():
            wanted = node.child_permissions(edge, perm, shared)
            if wanted != (edge.perm, edge.shared):
                self._before.append((edge, edge.perm, edge.shared))
                edge.perm, edge.shared = wanted
                self.pending.add(edge.node)
        return bool(self.pending)

    def undo(self) -> None:
        """Put everything back."""
        for edge, perm, shared in reversed(self._before):
            edge.perm, edge.shared = perm, shared
        for node in self.prepared:
            if node.driver is not None:
                node.driver.abort_permissions()

    def keep(self) -> None:
        """Let it hold."""
        for node in self.prepared:
            if node.driver is not None:
                node.driver.commit_permissions()


def _parents_first(roots: Iterable[Node]) -> list[Node]:
    """All nodes below `roots`, each behind all of its parents among them."""
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(root.children.values()))]
        while stack:
            node, children = stack[-1]
            edge = next(children, None)
            if edge is None:
                order.append(node)
                stack.pop()
            elif edge.node not in seen:
                seen.add(edge.node)
                stack.append((edge.node, iter(edge.node.children.values())))
    order.reverse()
    return order


def _check_parents(node: Node) -> None:
    if len(node.parents) < 2:
        return
    for holder in node.parents:
        for requirer in node.parents:
            refused = requirer.perm & ~holder.shared
            if refused and requirer is not holder:
                raise GenericError(
                    f"Permission conflict on node '{node.node_name}': permissions"
                    f" '{permission_names(refused)}' are both required by {_use(requirer)}"
                    f" and unshared by {_use(holder)}."
                )


def _use(edge: Edge) -> str:
    user = edge.parent.user_description
    return f"{user} (uses node '{edge.node.node_name}' as '{edge.name}' child)"


def _check_node(node: Node, perm: int) -> None:
    writing = perm & (WRITE | WRITE_UNCHANGED | RESIZE)
    if writing and not node.active:
        names = permission_names(writing)
        raise GenericError(f"Permission '{names}' unavailable on inactive node")
    if perm & (WRITE | WRITE_UNCHANGED) and not node.writable:
        if node.reopening:
            raise GenericError(
                f"Read-only block node '{node.node_name}' cannot support read-write users"
            )
        raise GenericError("Block node is read-only")
    if perm & (WRITE | RESIZE) == WRITE and node.length % node.request_alignment:
        raise GenericError(
            "Cannot get 'write' permission without 'resize': Image size is not a multiple of"
            " request alignment"
        )

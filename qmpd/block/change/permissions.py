"""The permissions on edges, kept in line with each other (``bdrv_refresh_perms``).

A node takes what its parents use together and shares what all of them share; from these
follow the permissions on its own children.  `refresh_permissions` works that out downwards
from a change, all or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from qmpd.block.change.one_by_one import agree, check_all, check_one
from qmpd.block.permission_bits import RESIZE, WRITE, WRITE_UNCHANGED, Perm, permission_names
from qmpd.errors import GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.node import Edge, Node


def refresh_permissions(*roots: Node, asking: Edge | None = None) -> None:
    """Bring the permissions below `roots` in line with those on them.

    :param asking: who asks for something else; the newest parent of each root if absent
    :raises QmpError: two parents do not agree, or a node refuses; nothing has changed then
    """
    change = _Change()
    try:
        if roots and roots[0].services.manners.conflicts_name_the_other:
            change.visit_one_by_one(roots, asking)
        elif not change.visit_trees(_on_one_branch(roots)):
            for node in _parents_first(roots):
                if node in change.pending or (node in roots and node not in change.prepared):
                    change.visit(node)
    except BaseException:
        change.undo()
        raise
    change.keep()


def loosen_permissions(*roots: Node) -> None:
    """`refresh_permissions` after somebody has let go of `roots`, or asks for less: cannot fail.

    Giving up a permission may take a new descriptor of a file that is no longer there, or that
    may no longer be opened.  Whoever gives it up is gone all the same, so that the nodes below
    keep what they had, as in ``bdrv_root_unref_child`` and ``bdrv_child_try_set_perm``.
    """
    try:
        refresh_permissions(*roots)
    except QmpError:
        return


class _Change:
    """A change of permissions on its way through the graph."""

    def __init__(self) -> None:
        self.pending: dict[Node, None] = {}
        """Nodes that are used in another way and have not been asked yet, the latest last."""
        self.prepared: dict[Node, None] = {}
        self._before: list[tuple[Edge, Perm, Perm]] = []

    def visit_trees(self, roots: Sequence[Node]) -> bool:
        """Visit all that follows from `roots`, as long as that is a tree.

        Few changes reach far: they need no order of everything below.

        :param roots: each below the one before it
        :returns: whether that was all; if not, `pending` has nodes with several parents
        """
        for root in roots:
            if root in self.prepared and root not in self.pending:
                continue
            self.visit(root)
            while self.pending:
                node = next(reversed(self.pending))
                if len(node.parents) > 1 and sum(edge.user is None for edge in node.parents) > 1:
                    return False
                self.visit(node)
        return bool(roots)

    def visit(self, node: Node) -> None:
        """Ask `node`, and work out what it asks of its children."""
        self.pending.pop(node, None)
        if len(node.parents) > 1:
            _check_parents(node)
        for edge in self._ask(node):
            # The latest goes first: the oldest child, with all that is below it.
            self.pending.pop(edge.node, None)
            self.pending[edge.node] = None

    def visit_one_by_one(self, roots: Sequence[Node], asking: Edge | None) -> None:
        """Visit all that follows from `roots`, and check each hold when it changes.

        :param asking: who asks for something else of the only root, if that is known
        """
        for node in _parents_first(roots):
            if node in roots and node not in self.prepared:
                if len(node.parents) > 1:
                    check_all(node, asking)
                self._go_down(node)

    def _go_down(self, node: Node) -> None:
        """Ask `node`, and all below its newest child before the others (``bdrv_check_perm``)."""
        if node in self.prepared and node.driver is not None:
            node.driver.abort_permissions()
        for edge in self._ask(node):
            check_one(edge)
            self._go_down(edge.node)

    def _ask(self, node: Node) -> Iterator[Edge]:
        """Ask `node` whether it can be used as its parents want.

        Yields where it asks for something else below then, from the newest child on.
        """
        perm, shared = node.cumulative_permissions()
        _check_node(node, perm)
        self.prepared[node] = None
        if node.driver is not None:
            node.driver.prepare_permissions(perm, shared)
        for edge in reversed(node.children.values()):
            wanted = node.child_permissions(edge, perm, shared)
            if wanted != (edge.perm, edge.shared):
                self._before.append((edge, edge.perm, edge.shared))
                edge.perm, edge.shared = wanted
                yield edge

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


def _on_one_branch(roots: Sequence[Node]) -> Sequence[Node]:
    """`roots`, each below the one before it, where that can be; else none.

    That is looked for upwards: most changes are made near the top of a chain.
    """
    if len(roots) < 2:
        return roots
    longest: list[Node] = []
    for root in roots:
        way = [root]
        while above := [edge.parent_node for edge in way[-1].parents if edge.parent_node]:
            if len(above) > 1:
                return ()
            way += above
        if len(way) > len(longest):
            longest = way
    branch = [node for node in reversed(longest) if node in roots]
    return branch if len(branch) == len(roots) else ()


def _parents_first(roots: Iterable[Node]) -> list[Node]:
    """All nodes below `roots`, each behind all of its parents among them.

    Otherwise the older children of a node come first (``bdrv_topological_dfs``).
    """
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, reversed(root.children.values()))]
        while stack:
            node, children = stack[-1]
            edge = next(children, None)
            if edge is None:
                order.append(node)
                stack.pop()
            elif edge.node not in seen:
                seen.add(edge.node)
                stack.append((edge.node, reversed(edge.node.children.values())))
    order.reverse()
    return order


def _check_parents(node: Node) -> None:
    # a node may have thousands of parents, and hardly ever do two of them not agree
    if agree(node.parents):
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
    user = edge.parent_description
    return f"{user} (uses node '{edge.node.node_name}' as '{edge.name}' child)"


def _check_node(node: Node, perm: Perm) -> None:
    writing = perm & (WRITE | WRITE_UNCHANGED | RESIZE)
    if not writing:
        return
    if not node.active:
        names = permission_names(writing)
        raise GenericError(f"Permission '{names}' unavailable on inactive node")
    if perm & (WRITE | WRITE_UNCHANGED) and not node.writable:
        if node.reopening and node.services.manners.conflicts_name_the_other:
            raise GenericError("Cannot make block node read-only, there is a writer on it")
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

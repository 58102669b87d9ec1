"""Changing the graph under way: what takes whose place, all or nothing.

A `GraphChange` is made of steps.  After the steps permissions are worked out anew; when that
fails everything is as it was.  The caller then lets the change stand (`commit`), or undoes it
later (`abort`): a transaction's action keeps it until all actions are prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from qmpd.block.change.aio_context import come_together
from qmpd.block.change.closing import release
from qmpd.block.change.drain import left
from qmpd.block.change.edges import add_parent, check_child, link, remove_parent, unlink
from qmpd.block.change.inheritance import inherits, orphans
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.model.node import Edge
from qmpd.block.permission_bits import COW, FILTERED, PRIMARY, Role
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class GraphChange:
    """Steps that were taken and can be undone."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._touched: dict[Node, None] = {}
        self._left: dict[Node, None] = {}

    def attach(self, parent: Node, name: str, child: Node, role: Role) -> Edge:
        """Make `child` a child of `parent`.

        :raises GenericError: that would be a cycle, the child is inactive, or the two are in
            different iothreads and must stay there
        """
        check_child(parent, name, child)
        edge = Edge.child(name, parent, child, role)
        self._undo.append(come_together(edge))
        link(parent, edge)
        self._undo.append(lambda: unlink(parent, edge))
        self._touch(parent, child)
        return edge

    def detach(self, edge: Edge) -> None:
        """Take a child from its parent, a node."""
        parent, child = edge.parent_node, edge.node
        assert parent is not None
        unlink(parent, edge)
        child.hold()

        def undo() -> None:
            link(parent, edge)
            child.unhold()

        self._undo.append(undo)
        self._touch(parent, child)
        self._left[child] = None

    def move(self, edge: Edge, node: Node) -> None:
        """Let `edge` hold `node` instead."""
        before = edge.node
        _move(edge, node)
        self._undo.append(lambda: _move(edge, before))
        self._touch(node, before)
        if before not in self._left:
            before.hold()
            self._left[before] = None
            self._undo.append(before.unhold)

    def set_child(self, parent: Node, name: str, child: Node | None, role: Role) -> None:
        """Let `child` be the child `name` of `parent`, or nobody.

        What followed the parent by way of the former child follows it directly where it is the
        new one, and no longer elsewhere (``bdrv_set_file_or_backing_noperm``).

        :raises GenericError: that would be a cycle, or the child is inactive
        """
        follows = inherits(child, parent)
        present = parent.children.get(name)
        if present is not None:
            for node in orphans(parent, present):
                self._inherit(node, None)
            self.detach(present)
        if child is not None:
            self.attach(parent, name, child, role)
            if follows:
                self._inherit(child, parent)

    def _inherit(self, node: Node, parent: Node | None) -> None:
        before = node.inherits_from
        node.follow(parent)
        self._undo.append(lambda: node.follow(before))

    def undo_with(self, undo: Callable[[], None]) -> None:
        """Have `undo` called when the change is undone."""
        self._undo.append(undo)

    def settle(self) -> GraphChange:
        """Bring the permissions in line; nothing has changed when that fails.

        :raises QmpError: somebody objects
        """
        try:
            refresh_permissions(*self._touched)
        except BaseException:
            self._back()
            raise
        return self

    def abort(self) -> None:
        """Undo everything, permissions included."""
        self._back()
        loosen_permissions(*self._touched)

    async def commit(self) -> None:
        """Let it stand; what nobody holds any more is closed."""
        self._undo.clear()
        left, self._left = self._left, {}
        for node in left:
            await release(node)

    def touch(self, node: Node) -> None:
        """Have the permissions of `node` worked out anew, too."""
        self._touched[node] = None

    def undo(self) -> None:
        """Undo everything, if that has not been done."""
        if self._undo:
            self.abort()

    def _touch(self, *nodes: Node) -> None:
        for node in nodes:
            self._touched[node] = None

    def _back(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._left.clear()


def _move(edge: Edge, node: Node) -> None:
    """Let `edge` hold `node`; a drained section of its parent goes on if `node` is drained too.

    Otherwise the section ends once the edge is in its new place (bdrv_replace_child_noperm).
    """
    quiesced, edge.quiesced = edge.quiesced, False
    parent = edge.parent_node
    if parent is not None:
        before = list(parent.children)
        unlink(parent, edge)
        edge.node, edge.quiesced = node, quiesced
        # The child counts as the parent's newest then.
        link(parent, edge)
        if node.services.manners.replaced_children_keep_their_place:
            parent.children.update({name: parent.children.pop(name) for name in before})
    else:
        remove_parent(edge)
        edge.node, edge.quiesced = node, quiesced
        add_parent(edge)
    if not node.quiesce_counter:
        left(edge)


def replace_parents(change: GraphChange, old: Node, new: Node) -> None:
    """Have those who hold `old` hold `new` instead, but for what belongs to `new` itself.

    :raises GenericError: a job relies on one of these links
    """
    for edge in list(old.parents):
        parent = edge.parent_node
        if edge.kind.stays_at_node or (parent is not None and parent.is_below(new)):
            continue
        if edge.frozen:
            raise GenericError(f"Cannot change '{edge.name}' link to '{old.node_name}'")
        change.move(edge, new)


def replace_node(old: Node, new: Node) -> GraphChange:
    """`new` takes the place of `old` (bdrv_replace_node).

    :raises QmpError: somebody objects; nothing has changed then
    """
    change = GraphChange()
    try:
        replace_parents(change, old, new)
    except BaseException:
        change.abort()
        raise
    return change.settle()


def append(new: Node, old: Node) -> GraphChange:
    """`new` takes the place of `old` and has it as its backing or filtered child (bdrv_append).

    :raises QmpError: somebody objects; nothing has changed then
    """
    change = GraphChange()
    is_filter = new.driver_class.shape.is_filter
    name = (
        "file" if is_filter and not new.driver_class.shape.filtered_child_is_backing else "backing"
    )
    try:
        change.attach(new, name, old, FILTERED | PRIMARY if is_filter else COW)
        replace_parents(change, old, new)
        if is_filter:
            new.refresh_length()
    except BaseException:
        change.abort()
        raise
    return change.settle()


def set_backing(node: Node, backing: Node | None) -> GraphChange:
    """Give `node` another backing file, or none (bdrv_set_backing_hd).

    :raises QmpError: it cannot have one, a job relies on the link, or somebody objects
    """
    change = GraphChange()
    present = node.children.get("backing")
    try:
        if present is not None and present.frozen:
            raise GenericError(
                f"Cannot change frozen 'backing' link from '{node.node_name}'"
                f" to '{present.node.node_name}'"
            )
        driver = node.driver_class
        if not driver.shape.is_filter and not driver.capabilities.backing:
            raise GenericError(
                f"Driver '{driver.format_name}' of node '{node.node_name}' does not support"
                " backing files"
            )
        is_filter = driver.shape.is_filter
        change.set_child(node, "backing", backing, FILTERED | PRIMARY if is_filter else COW)
        if is_filter and backing is not None:
            node.refresh_length()
    except BaseException:
        change.abort()
        raise
    done = change.settle()
    node.refresh_limits()
    return done


def remove_filter(node: Node) -> GraphChange:
    """What a filter filters takes its place again (bdrv_drop_filter).

    :raises QmpError: somebody objects
    """
    change = GraphChange()
    edge = next(e for e in node.children.values() if e.role & (FILTERED | COW))
    try:
        replace_parents(change, node, edge.node)
        change.detach(edge)
    except BaseException:
        change.abort()
        raise
    return change.settle()


def freeze_chain(top: Node, base: Node) -> None:
    """Keep the links from `top` down to `base` as they are, for a job that relies on them.

    :raises GenericError: a job relies on one of them already, or one must go at any time
    """
    edges = list(_chain_edges(top, base))
    for edge in edges:
        if edge.frozen:
            raise GenericError(_frozen(edge))
        if edge.node.driver_class.shape.never_freeze:
            raise GenericError(f"Cannot freeze '{edge.name}' link to '{edge.node.node_name}'")
    for edge in edges:
        edge.frozen = True


def unfreeze_chain(top: Node, base: Node) -> None:
    """Undo `freeze_chain`."""
    for edge in _chain_edges(top, base):
        edge.frozen = False


def _frozen(edge: Edge) -> str:
    parent = edge.parent_node
    assert parent is not None
    return (
        f"Cannot change frozen '{edge.name}' link from '{parent.node_name}'"
        f" to '{edge.node.node_name}'"
    )


def _chain_edges(top: Node, base: Node) -> Iterator[Edge]:
    node: Node | None = top
    while node is not None and node is not base:
        edge = node.filter_or_backing_edge
        if edge is None:
            return
        yield edge
        node = edge.node

"""Nodes move from one loop to another, with all that hangs together with them.

A node, its parents and its children are in the same loop, always.  So a move takes a whole part of
the graph with it, or nothing at all: any backend that somebody relies on may forbid it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.block.change.drain import drained, drained_begin, drained_end, quiesce, resume
from qmpd.block.manners import GraphLock
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.aio_context import AioContext
    from qmpd.block.model.node import Edge, Holder, Node


class _Move:
    """What would have to move to `context`; found before anything does.

    :param ignored: a hold that is left out: it is only about to come
    """

    def __init__(self, context: AioContext, ignored: Edge | None = None) -> None:
        self.nodes: dict[Node, AioContext] = {}
        """The nodes, and the loops that they are in now."""
        self._users: dict[Holder, AioContext] = {}
        self._context = context
        self._ignored = ignored
        self._waiting: list[Node] = []

    def take_node(self, node: Node) -> None:
        """A node is to move, with its parents and children (``bdrv_change_aio_context``).

        :raises GenericError: somebody relies on the present loop
        """
        self._waiting.append(node)
        self._follow()

    def take_user(self, user: Holder) -> None:
        """A backend or a job is to move, with what it holds besides.

        :raises GenericError: somebody relies on the present loop
        """
        self._take_user(user)
        self._follow()

    def _take_user(self, user: Holder) -> None:
        if user in self._users:
            return
        user.check_context_change()
        self._users[user] = user.aio_context
        self._waiting += [edge.node for edge in user.holds if edge is not self._ignored]

    def _follow(self) -> None:
        while self._waiting:
            node = self._waiting.pop()
            if node.aio_context is self._context or node in self.nodes:
                continue
            self.nodes[node] = node.aio_context
            for edge in node.parents:
                if edge is self._ignored:
                    continue
                if edge.parent_node is not None:
                    self._waiting.append(edge.parent_node)
                elif edge.user is not None:
                    self._take_user(edge.user)
            self._waiting += [e.node for e in node.children.values() if e is not self._ignored]

    def make(self) -> None:
        """Let it all move."""
        for node in self.nodes:
            node.aio_context = self._context
        for user in self._users:
            user.aio_context = self._context

    def undo(self) -> None:
        """Let it all be where it was."""
        for node, before in self.nodes.items():
            node.aio_context = before
        for user, before in self._users.items():
            user.aio_context = before


async def try_change(node: Node, context: AioContext) -> None:
    """Move `node`, and all that hangs together with it, to another loop.

    As ``bdrv_try_change_aio_context`` does; what moves is drained meanwhile.

    :raises GenericError: somebody relies on the present loop; nothing has moved then
    """
    if node.graph.services.manners.graph_lock is GraphLock.WHOLE:
        await drained(node.graph, None, _try_change(node, context))
    else:
        await _try_change(node, context)


async def _try_change(node: Node, context: AioContext) -> None:
    """As `try_change`, but for what is drained around it."""
    if node.aio_context is context:
        return
    move = _Move(context)
    move.take_node(node)
    drained = []
    try:
        for moving in move.nodes:
            await drained_begin(moving)
            drained.append(moving)
        move.make()
    finally:
        for moving in drained:
            drained_end(moving)


async def go_home(node: Node) -> None:
    """A hold on `node` has ended: back to the main loop, unless another one forbids it.

    As ``bdrv_root_unref_child`` does.
    """
    if node.aio_context is not None:
        try:
            await _try_change(node, None)
        except GenericError:
            return


def come_together(edge: Edge) -> Callable[[], None]:
    """`edge`, which nobody knows yet, is to hold its node: bring both of them into one loop.

    The node comes to its new parent; where it may not, the parent comes to the node
    (``bdrv_attach_child_common``).  Nobody waits meanwhile: the graph is being changed.

    :returns: what undoes it
    :raises GenericError: neither may move; nothing has moved then
    """
    node, parent, user = edge.node, edge.parent_node, edge.user
    holder = user if parent is None else parent
    assert holder is not None
    here, there = holder.aio_context, node.aio_context
    if here is there:
        return _nothing
    move = _Move(here, edge)
    try:
        move.take_node(node)
    except GenericError as refusal:
        move = _Move(there, edge)
        try:
            if parent is not None:
                move.take_node(parent)
            elif user is not None:
                move.take_user(user)
        except GenericError:
            raise refusal from None
    quiesce(move.nodes)
    move.make()
    resume(move.nodes)
    return move.undo


def _nothing() -> None:
    """Nothing has moved."""

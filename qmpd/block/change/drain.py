"""Drained sections: while a node is drained, nothing above it starts a request on it.

A section begins with a word to all parents of the node, and theirs; then it waits until what
they have under way has ended.  What becomes a parent meanwhile is told, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Edge, Node

T = TypeVar("T")


def quiesce(nodes: Iterable[Node], *, flat: bool = False) -> None:
    """Begin a section on each of `nodes`, without waiting.

    :param flat: nodes above them are not told, since they are among `nodes`
    """
    stack = list(nodes)
    stack.reverse()
    while stack:
        node = stack.pop()
        node.quiesce_counter += 1
        if node.quiesce_counter > 1:
            continue
        driver = node.driver
        if driver is not None and driver.capabilities.hears_drains:
            driver.drained_begin()
        for edge in list(node.parents):
            parent = edge.parent_node
            if parent is None:
                edge.quiesced = True
                if (user := edge.user) is not None:
                    user.drained_begin()
                continue
            if flat:
                continue
            edge.quiesced = True
            if parent.quiesce_counter:
                # its section has begun: it is only counted
                parent.quiesce_counter += 1
            else:
                stack.append(parent)


def resume(nodes: Iterable[Node]) -> None:
    """End a section on each of `nodes`."""
    stack = list(nodes)
    stack.reverse()
    while stack:
        node = stack.pop()
        assert node.quiesce_counter > 0
        node.quiesce_counter -= 1
        if node.quiesce_counter:
            continue
        driver = node.driver
        if driver is not None and driver.capabilities.hears_drains:
            driver.drained_end()
        for edge in list(node.parents):
            if not edge.quiesced:
                continue
            edge.quiesced = False
            if (parent := edge.parent_node) is None:
                if (user := edge.user) is not None:
                    user.drained_end()
            elif parent.quiesce_counter > 1:
                # another section goes on: it is only counted
                parent.quiesce_counter -= 1
            else:
                stack.append(parent)


async def wait_quiet(nodes: Sequence[Node]) -> None:
    """Wait until nothing is under way in `nodes` and in what stands above them."""
    while (busy := _busy(nodes)) is not None:
        await busy


def _busy(nodes: Sequence[Node]) -> Awaitable[None] | None:
    """The end of something that is under way in `nodes` or above, of parents first, or None."""
    seen: dict[Node, None] = dict.fromkeys(nodes)
    stack = list(nodes)
    while stack:
        for edge in stack.pop().parents:
            parent = edge.parent_node
            if parent is None:
                if (user := edge.user) is not None and (busy := user.drained_poll()) is not None:
                    return busy
            elif parent not in seen:
                seen[parent] = None
                stack.append(parent)
    for node in seen:
        if node.in_flight:
            return node.wait_idle()
    return None


def joined(edge: Edge) -> None:
    """`edge` holds its node from now on."""
    if edge.node.quiesce_counter and not edge.quiesced:
        edge.quiesced = True
        if (parent := edge.parent_node) is not None:
            quiesce([parent])
        elif (user := edge.user) is not None:
            user.drained_begin()


def left(edge: Edge) -> None:
    """`edge` no longer holds its node."""
    if not edge.quiesced:
        return
    edge.quiesced = False
    if (parent := edge.parent_node) is not None:
        resume([parent])
    elif (user := edge.user) is not None:
        user.drained_end()


# Whole sections


async def drained_begin(*nodes: Node) -> None:
    """Have nothing start on `nodes` until `drained_end`, and wait for what is under way."""
    quiesce(nodes)
    await wait_quiet(nodes)


def drained_end(*nodes: Node) -> None:
    """Undo one `drained_begin`."""
    resume(nodes)


async def drain(node: Node) -> None:
    """A section on `node` that ends as soon as nothing is under way any more."""
    if not node.parents and not node.in_flight and not node.driver.capabilities.hears_drains:
        # nobody is told, and there is nothing to wait for
        return
    await drained_begin(node)
    drained_end(node)


async def drain_all_begin(graph: Graph) -> None:
    """Drain all nodes; those that are made meanwhile belong to the section."""
    await wait_quiet(quiesce_all(graph))


def quiesce_all(graph: Graph) -> list[Node]:
    """Begin a section of all nodes, which are returned, without waiting."""
    graph.drains += 1
    nodes = graph.nodes()
    quiesce(nodes, flat=graph.services.manners.drains_of_all_are_flat)
    return nodes


def drain_all_end(graph: Graph) -> None:
    """Undo one `drain_all_begin`."""
    graph.drains -= 1
    resume(graph.nodes())


async def drain_all(graph: Graph) -> None:
    """Let all requests under way end."""
    await drain_all_begin(graph)
    drain_all_end(graph)


def subtree(nodes: Iterable[Node]) -> list[Node]:
    """`nodes`, and all below them."""
    found: dict[Node, None] = {}
    stack = list(nodes)
    stack.reverse()
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack += [edge.node for edge in node.children.values()]
    return list(found)


async def drained(graph: Graph, nodes: Iterable[Node] | None, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a drained section of `nodes`; None for all."""
    section = None if nodes is None else list(nodes)
    try:
        if section is None:
            await drain_all_begin(graph)
        else:
            await drained_begin(*section)
    except BaseException:
        work.close()
        raise
    try:
        return await work
    finally:
        if section is None:
            drain_all_end(graph)
        else:
            drained_end(*section)

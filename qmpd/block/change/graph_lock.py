"""The graph's write lock: whoever changes who holds whom first stops those who read the graph.

Block jobs read it all the time.  So, before nodes or holders come or go, every running job is
brought to its next pause point and let go again, which its clients see as a pair of
JOB_STATUS_CHANGE events (paused and running, or standby and ready).  QEMU's ``bdrv_graph_wrlock``
does so by a drained section of all nodes that ends before the change is made, and
``bdrv_graph_wrlock_drained``, which newer versions have, by one that ends after it.  Old versions
had no lock, and drained the nodes that change (`GraphLock`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.change.drain import (
    drain_all_begin,
    drain_all_end,
    drained_begin,
    drained_end,
    quiesce_all,
)
from qmpd.block.manners import GraphLock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


class write_lock:
    """Within, who holds whom may be changed; nobody is in the middle of a request when it begins.

    The jobs that were stopped have gone on before the change is made.  What they leave to do when
    it is over, as those do that have come to the end of their work, is done at once
    (``bdrv_graph_wrunlock``).

    It is a class, and no generator, because opening a node takes it five times.

    :param nodes: what is drained where there is no lock
    :param brief: let the jobs go on before the change where most changes make them wait
    """

    __slots__ = ("_brief", "_drains", "_graph", "_nodes")

    def __init__(self, graph: Graph, *nodes: Node, brief: bool = False) -> None:
        self._graph = graph
        self._nodes = nodes
        self._brief = brief
        self._drains = False

    async def __aenter__(self) -> None:
        graph = self._graph
        lock = graph.services.manners.graph_lock
        if lock is GraphLock.NONE:
            await drained_begin(*self._nodes)
        elif graph.readers and lock is GraphLock.WHOLE and not self._brief:
            self._drains = True
            await drain_all_begin(graph)
        elif graph.readers and not graph.drains and any(r.at_work for r in graph.readers):
            await _until_nobody_reads(graph, quiesce_all(graph))
            drain_all_end(graph)

    async def __aexit__(self, *_: object) -> None:
        graph = self._graph
        if graph.services.manners.graph_lock is GraphLock.NONE:
            drained_end(*self._nodes)
            return
        loop = graph.services.loop
        if loop.has_bottom_halves:
            await loop.poll_bottom_halves()
        if self._drains:
            drain_all_end(graph)


class standstill:
    """Where all stand still until a change is over, they do so until what it leaves is closed.

    QEMU drops the references that a change gives up in bottom halves of the main loop, which run
    when the lock is given back and before the drained section ends (``bdrv_schedule_unref``).

    :param nodes: what stands still where not all do
    """

    __slots__ = ("_drains", "_graph", "_nodes")

    def __init__(self, graph: Graph, *nodes: Node) -> None:
        self._graph = graph
        self._nodes = nodes
        self._drains = False

    async def __aenter__(self) -> None:
        graph = self._graph
        if graph.services.manners.graph_lock is not GraphLock.WHOLE:
            await drained_begin(*self._nodes)
        elif graph.readers:
            self._drains = True
            await drain_all_begin(graph)

    async def __aexit__(self, *_: object) -> None:
        if self._drains:
            drain_all_end(self._graph)
        elif self._graph.services.manners.graph_lock is not GraphLock.WHOLE:
            drained_end(*self._nodes)


async def _until_nobody_reads(graph: Graph, nodes: Iterable[Node]) -> None:
    while True:
        reading = (waiter for reader in graph.readers if (waiter := reader.reading()) is not None)
        if (waiter := next(reading, None)) is not None:
            await waiter
        elif (node := next((node for node in nodes if node.in_flight), None)) is not None:
            await node.wait_idle()
        else:
            return

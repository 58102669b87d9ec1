"""The time that a job's requests take.

Images are read and written where the request is made, with nobody waiting.  So that a
client has its say while a job copies, as it has with QEMU, each request of a job to a node
over real files lets everything else go on for a moment before it is known to be done.
One that fails, as those that blkdebug lets fail, is known to at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

REQUEST_TIME: Final = 100_000
"""Nanoseconds for a request to a real file."""


class FileRequests:
    """Tells later whether there were requests to files; those that caches spare take no time.

    :param node: any node of the graph
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before = node.graph.file_requests

    async def time(self, length: int = 0) -> None:
        """Let the time of one request pass, if there was any; see `request_time`."""
        node = self._node
        if node.graph.file_requests != self._before or node.graph.paces is not None:
            await request_time(node, length)


async def request_time(node: Node, length: int = 0) -> None:
    """Let the time of one request to `node` pass, if there are files below it.

    :param length: how many bytes it was about; nodes may be slow (`qmpd.block.model.pace`)
    """
    paces = node.graph.paces
    if paces is not None:
        loop = node.services.loop
        delay = paces.delay(_names(node), loop.now(), length)
        if delay:
            await loop.sleep(delay)
            return
    if node.io_waits:
        await node.services.loop.moment(REQUEST_TIME)


def _names(node: Node) -> Iterator[str]:
    """The names of a node and of those of its file."""
    current: Node | None = node
    while current is not None:
        yield current.node_name
        current = current.primary

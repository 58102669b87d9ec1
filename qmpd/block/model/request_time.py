"""The time that a job's requests take.

Images are read and written where the request is made, with nobody waiting.  So that a
client has its say while a job copies, as it has with QEMU, each request of a job to a node
over real files lets everything else go on for a moment before it is known to be done.
One that fails, as those that blkdebug lets fail, is known to at once.
"""

from __future__ import annotations

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

    async def time(self) -> None:
        """Let the time of one request pass, if there was any."""
        if self._node.graph.file_requests != self._before:
            await request_time(self._node)


async def request_time(node: Node) -> None:
    """Let the time of one request to `node` pass, if there are files below it."""
    if node.io_waits:
        await node.services.loop.moment(REQUEST_TIME)

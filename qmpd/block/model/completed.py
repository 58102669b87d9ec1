"""Requests of jobs, which end when the main loop hears of it.

Jobs are coroutines of the main loop, so their requests to files have completions
(`qmpd.loop.completions`), and a client has its say between them.  Guests and commands are answered
where they ask.  A test may say besides how fast a node is (`qmpd.block.model.pace`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

T = TypeVar("T")


async def completed(node: Node, request: Coroutine[Any, Any, T], length: int = 0) -> T:
    """Make a request to `node`, and return its result once its completion is reported.

    :param length: how many bytes it is about
    :raises BlockIOError: it failed
    """
    loop = node.services.loop
    paces = node.graph.paces
    if paces is None:
        return await loop.completions.of(request)
    result = await request
    delay = paces.delay(_names(node), loop.now(), length)
    if delay:
        await loop.sleep(delay)
    else:
        await loop.completions.report()
    return result


def _names(node: Node) -> Iterator[str]:
    """The names of a node and of those of its file."""
    current: Node | None = node
    while current is not None:
        yield current.node_name
        current = current.primary

"""Reading an area that is as long as a request may be, without having all of it in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.loop.completions import VERY_LONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node

_PLAIN: Final = frozenset(("file", "null-aio", "null-co", "qcow2", "raw"))
"""Drivers that nobody can tell by how many requests an area was read."""


async def read_in_slices(
    backend: BlockBackend, offset: int, length: int, take: Callable[[bytes], None]
) -> None:
    """Read as `BlockBackend.pread` does, and have others have their turn between two slices.

    It is one request to all who hold up requests, or wait for them to end.

    :param take: gets the slices
    :raises BlockIOError: as of `BlockBackend.pread`
    """
    completions = backend.graph.services.loop.completions
    if length <= VERY_LONG or not completions.patient or completions.threads is None:
        take(await backend.pread(offset, length))
        return
    node = await backend.admit_read(offset, length)
    if not _is_plain(node):
        take(await node.pread(offset, length))
        return
    node.in_flight += 1
    try:
        end = offset + length
        while offset < end:
            stop = min(end, (offset // VERY_LONG + 1) * VERY_LONG)
            take(await node.pread(offset, stop - offset))
            offset = stop
            await completions.rest()
    finally:
        node.request_ended()


def _is_plain(top: Node) -> bool:
    todo, seen = [top], {top}
    while todo:
        node = todo.pop()
        if node.copy_on_read or node.driver.format_name not in _PLAIN:
            return False
        if "pread" in vars(node.driver):
            # somebody counts, or fails, its requests
            return False
        below = {edge.node for edge in node.children.values()} - seen
        seen |= below
        todo += below
    return True

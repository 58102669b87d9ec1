"""What a flush would wait for, done by a thread before: others are served meanwhile."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from qmpd.block.images.image import Image
from qmpd.block.permission_bits import WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError
from qmpd.loop.apart import Meanwhile
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qmpd.block.model.node import Node


_QUIET: Final = frozenset(("file", "raw", "qcow2"))
"""Drivers whose flush nobody sees but the files below."""


async def sync_ahead(node: Node | None) -> None:
    """Make stable what has been written to files of the host below `node`.

    It is no flush, which has yet to come, and which then has nothing to wait for unless more has
    been written.  Where the machine has no threads nothing is done.

    :raises BlockIOError: it fails
    """
    if node is None:
        return
    completions = node.services.loop.completions
    if completions.threads is None:
        return
    for one, image in list(_unsynced(node)):
        failed: list[BlockIOError] = []
        with one.syncing():
            waiter = Waiter(direct=True)
            await completions.ahead((image,), partial(_sync, image, failed), waiter)
            if failed:
                raise failed[0]


def _sync(image: Image, failed: list[BlockIOError]) -> None:
    try:
        image.flush()
    except BlockIOError as error:
        failed.append(error)


async def flush_ahead(nodes: Iterable[Node]) -> None:
    """Flush nodes before a command begins that is going to: other commands have their turn.

    Only those are flushed of which nobody but the files below can tell that they were.  What
    fails is left to the command, for it fails again.  Where the machine has no threads nothing is
    done.
    """
    found = [node for node in nodes if any(_unsynced(node)) and _is_quiet(node)]
    if not found or found[0].services.loop.completions.threads is None:
        return
    loop = found[0].services.loop
    waiter = Meanwhile(direct=True)

    async def flush() -> None:
        for node in found:
            with suppress(BlockIOError):
                await loop.completions.patiently(node.flush())

    loop.enter(flush(), "flush ahead", lambda _: waiter.wake())
    await waiter


def _is_quiet(top: Node) -> bool:
    """Whether nobody is told of a flush of `top`: no filter, no server, no fault."""
    return all(
        node.driver.format_name in _QUIET and "flush_to_disk" not in vars(node.driver)
        for node in _written_to(top)
    )


def _unsynced(top: Node) -> Iterator[tuple[Node, Image]]:
    """The files that have been written to since the last flush."""
    for node in _written_to(top):
        image = getattr(node.driver, "image", None)
        if isinstance(image, Image) and image.in_threads and image.fd >= 0 and node.is_unsynced:
            yield node, image


def _written_to(top: Node) -> Iterator[Node]:
    """`top`, and what below it is written to by way of it."""
    todo, seen = [top], {top}
    while todo:
        node = todo.pop()
        yield node
        for edge in node.children.values():
            if edge.perm & (WRITE | WRITE_UNCHANGED) and edge.node not in seen:
                seen.add(edge.node)
                todo.append(edge.node)

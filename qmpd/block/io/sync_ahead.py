"""What a flush would wait for, done by a thread before: others are served meanwhile."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

from qmpd.block.images.image import Image
from qmpd.block.permission_bits import WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError
from qmpd.loop.apart import Meanwhile
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.block.model.node import Node


async def sync_ahead(node: Node | None, *, in_command: bool = False) -> None:
    """Make stable what has been written to files of the host below `node`.

    It is no flush, which has yet to come, and which then has nothing to wait for unless more has
    been written.  Where the machine has no threads nothing is done.

    :param in_command: a command does so before it begins: other commands have their turn
    :raises BlockIOError: it fails; the system tells that only once, so that the flush would not
    """
    if node is None:
        return
    completions = node.services.loop.completions
    if completions.threads is None:
        return
    for one, image in list(_unsynced(node)):
        failed: list[OSError] = []
        with one.syncing():
            waiter = Meanwhile(direct=True) if in_command else Waiter(direct=True)
            await completions.ahead((image,), partial(_sync, image.fd, failed), waiter)
            if failed:
                raise BlockIOError(failed[0].errno or errno.EIO)


def _sync(fd: int, failed: list[OSError]) -> None:
    try:
        os.fdatasync(fd)
    except OSError as error:
        failed.append(error)


def _unsynced(top: Node) -> Iterator[tuple[Node, Image]]:
    """The files that have been written to since the last flush."""
    todo, seen = [top], {top}
    while todo:
        node = todo.pop()
        image = getattr(node.driver, "image", None)
        if isinstance(image, Image) and image.in_threads and image.fd >= 0 and node.is_unsynced:
            yield node, image
        for edge in node.children.values():
            if edge.perm & (WRITE | WRITE_UNCHANGED) and edge.node not in seen:
                seen.add(edge.node)
                todo.append(edge.node)

"""Making a file, and giving it a length: what QEMU's raw_co_create and raw_co_truncate do to it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.images.locks import AVAILABLE
from qmpd.block.permission_bits import RESIZE, WRITE
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.block.images import Image
    from qmpd.block.model.graph import Graph

_EXTENT_SIZE: Final = 1 << 20
"""What a new file's space is allocated in, bytes, where nothing else is asked for."""
_MAX_EXTENT_SIZE: Final = (1 << 32) - 1
_PREALLOCATION: Final = ("off", "falloc", "full")
_MAX_LENGTH: Final = (1 << 63) - 1
_BLOCK: Final = 4096
_SECTOR: Final = 512


async def create_file(graph: Graph, options: Mapping[str, Any]) -> None:
    """Create a file of `size` bytes; an existing one is truncated first.

    :param options: BlockdevCreateOptionsFile
    :raises GenericError: with QEMU's text
    """
    hint = options.get("extent-size-hint", _EXTENT_SIZE)
    if hint > _MAX_EXTENT_SIZE:
        raise GenericError("Extent size hint is too large")
    storage = graph.services.storage
    if storage.gate is not None:
        await storage.gate.creates(options["filename"])
    image = storage.create(options["filename"])
    try:
        if AVAILABLE:
            _lock_for_creation(image, options["filename"])
        image.truncate(0)
        image.give_hints(nocow=bool(options.get("nocow")), extent_size=hint)
        await graph.services.loop.completions.report()
        resize(image, options["size"], options.get("preallocation", "off"))
    finally:
        image.close()


def locked(error: BlockIOError, filename: str) -> BlockIOError:
    """The error that somebody has locked bytes of a file, with QEMU's hint."""
    return error.hinted(f"Is another process using the image [{filename}]?")


def _lock_for_creation(image: Image, filename: str) -> None:
    """Make sure that nobody uses a file that is about to be emptied."""
    locks = image.new_locks()
    try:
        locks.lock(WRITE | RESIZE, RESIZE)
        locks.check(WRITE | RESIZE, RESIZE)
    except BlockIOError as error:
        raise locked(error, filename) from None


def resize(image: Image, size: int, prealloc: str) -> None:
    """Change the length of an image.

    :param prealloc: PreallocMode of what is added
    :raises BlockIOError: with QEMU's text
    """
    if size > _MAX_LENGTH:
        raise BlockIOError(errno.EINVAL, f"Could not resize file: {os.strerror(errno.EINVAL)}")
    is_new = image.length() == 0 < size
    if prealloc == "off":
        image.truncate(size)
        if is_new:
            _allocate_first_block(image, size)
        return
    if image.length() > size:
        raise BlockIOError(errno.ENOTSUP, "Cannot use preallocation for shrinking files")
    if prealloc not in _PREALLOCATION:
        raise BlockIOError(errno.ENOTSUP, f"Unsupported preallocation mode: {prealloc}")
    try:
        image.allocate(size)
    except BlockIOError as error:
        if prealloc == "falloc":
            raise
        # that is done by writing, in QEMU
        number = error.errno or errno.EIO
        text = f"Could not write zeros for preallocation: {os.strerror(number)}"
        raise BlockIOError(number, text) from None
    if is_new and prealloc == "falloc":
        _allocate_first_block(image, size)


def _allocate_first_block(image: Image, size: int) -> None:
    """Write the start of a file that was empty, so that its alignment can be probed.

    What fails there does not matter (`allocate_first_block` in block/file-posix.c).
    """
    with suppress(BlockIOError):
        image.pwrite(0, bytes(_BLOCK if size >= _BLOCK else _SECTOR))

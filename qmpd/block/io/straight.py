"""Copies of data that nobody on the way has to see.

Where source and target are images as they are (`Plain`), pages of files in memory are handed over
without being copied, and a file of the host is copied to another one by one thread, in one go and
by one buffer.  In all other cases the bytes are read, and then written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from qmpd.block.images import Image
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.completed import completed
from qmpd.block.model.plain import Plain

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.loop.completions import Completions

_PIECE: Final = 1 << 20
"""Bytes of a buffer."""


async def copy(
    source: Node,
    target: Node | BlockBackend,
    offset: int,
    length: int,
    has_read: Callable[[], None],
    *,
    flush_follows: bool = False,
) -> None:
    """Copy an area of `source` to the same place in `target`, as a job does.

    :param has_read: called once the area has been read: what fails later is a write
    :param flush_follows: the job flushes `target` as soon as all is copied
    :raises BlockIOError: reading or writing has failed
    """
    completions = source.services.loop.completions
    if completions.threads is not None and source.graph.paces is None:
        ways = _way(source), _way(target)
        if ways[0] is not None and ways[1] is not None and ways[1].writable():
            images = ways[0].bytes, ways[1].bytes
            if all(isinstance(image, Image) and image.in_threads for image in images):
                to_disk = flush_follows and ways[1].flushes
                work = _in_one_go(
                    ways[0], ways[1], offset, length, completions, has_read, to_disk=to_disk
                )
                await completions.of(work)
                return
    data = await completed(source, _read(source, offset, length), length)
    has_read()
    node = target.node if isinstance(target, BlockBackend) else target
    await completed(node or source, _write(target, offset, data), length)


def _way(where: Node | BlockBackend) -> Plain | None:
    node = where.straight if isinstance(where, BlockBackend) else where
    return None if node is None else Plain.of(node)


async def _read(source: Node, offset: int, length: int) -> bytes | Sequence[bytes]:
    """Read, pages of memory as they are."""
    way = Plain.of(source)
    if way is None or not isinstance(way.bytes, Image) or way.bytes.in_threads:
        return await source.pread(offset, length)
    if offset + length > source.length:
        return await source.pread(offset, length)
    source.services.loop.completions.submit()
    return way.bytes.parts(offset + way.moved, length)


async def _write(target: Node | BlockBackend, offset: int, data: bytes | Sequence[bytes]) -> None:
    """Write, pages of memory as they are."""
    if isinstance(data, bytes):
        await target.pwrite(offset, data)
        return
    way = _way(target)
    if way is None or not way.writable() or not isinstance(way.bytes, Image):
        await target.pwrite(offset, b"".join(data))
        return
    way.services.loop.completions.submit()
    way.write_by(way.bytes.pwrite_parts, offset, data, sum(map(len, data)))


async def _in_one_go(
    source: Plain,
    target: Plain,
    offset: int,
    length: int,
    completions: Completions,
    has_read: Callable[[], None],
    *,
    to_disk: bool,
) -> None:
    """Have a thread copy.

    :param to_disk: and begin what a flush is going to wait for
    """
    reading = True
    buffers = completions.buffers

    def work() -> None:
        nonlocal reading
        buffer = buffers.pop() if buffers else memoryview(bytearray(_PIECE))
        for start in range(offset, offset + length, _PIECE):
            piece = buffer[: min(_PIECE, offset + length - start)]
            reading = True
            source.bytes.pread_into(start + source.moved, piece)
            reading = False
            target.bytes.pwrite(start + target.moved, piece)
        buffers.append(buffer)
        if to_disk and isinstance(target.bytes, Image):
            target.bytes.begin_flush(offset + target.moved, length)

    target.check_write(offset, length)
    source.begin()
    target.begin()
    done = False
    try:
        await completions.run((source.bytes, target.bytes), work, length)
        done = True
    finally:
        if not reading:
            has_read()
        target.end_write(offset, length, done=done)
        target.end()
        source.end()

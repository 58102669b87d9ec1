"""Copies of data that nobody on the way has to see.

Where source and target are images as they are (`Plain`), or qcow2 images whose clusters lie in such
files, a thread copies from file to file, in one go and by one buffer; pages of files in memory are
handed over without being copied.  In all other cases the bytes are read, and then written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Self

from qmpd.base.override import override
from qmpd.block.images import Image
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.completed import completed
from qmpd.block.model.data import Piece
from qmpd.block.model.node import Node
from qmpd.block.model.plain import Plain
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.data import Beneath
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
        node = target.straight if isinstance(target, BlockBackend) else target
        found = None if node is None else await _find(source, node, offset, length)
        if node is not None and found is not None:
            piece = _Piece(completions, found, flush_follows=flush_follows)
            try:
                await completions.of(_put(source, node, offset, piece))
            finally:
                if not found.unreadable:
                    has_read()
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


class _Found:
    """Where the bytes lie that are to be copied.

    :param way: to the file
    :param offset: from there on, as `way` counts
    :param length: so many of them
    """

    def __init__(self, way: Plain, offset: int, length: int) -> None:
        self.way = way
        self.offset = offset
        self.length = length
        self.unreadable = False
        """Whether it could not be read."""


async def _find(source: Node, target: Node, offset: int, length: int) -> _Found | None:
    """Where `source` has an area, if a thread can copy it from there to where it is to be."""
    if not _takes_files(target, offset, length):
        return None
    way = Plain.of(source)
    if way is not None:
        return _Found(way, offset, length) if _in_threads(way) else None
    if not source.passes_requests or source.driver.data_node() is None:
        return None
    try:
        status = await source.block_status(offset, length)
    except BlockIOError:
        return None
    file = source.driver.data_node()
    if not status.data or status.offset is None or status.length < length or file is None:
        return None
    if status.offset + length > file.length:
        return None
    way = Plain.of(file)
    return _Found(way, status.offset, length) if way is not None and _in_threads(way) else None


def _takes_files(target: Node, offset: int, length: int) -> bool:
    """Whether what is written to an area goes as it is to a file that threads may write to."""
    way = Plain.of(target)
    if way is None:
        file, cluster = target.driver.data_node(), target.driver.cluster_size() or 1
        # parts of a cluster would have to be put together with what is around them
        if file is None or not target.passes_requests or offset % cluster or length % cluster:
            return False
        way = Plain.of(file) if target.flags.detect_zeroes == "off" else None
    return way is not None and way.writable() and _in_threads(way)


def _in_threads(way: Plain) -> bool:
    return isinstance(way.bytes, Image) and way.bytes.in_threads


async def _put(source: Node, target: Node, offset: int, piece: _Piece) -> None:
    """Have a piece copied to `offset` of `target`, while a request to `source` is under way."""
    source.in_flight += 1
    try:
        if Plain.of(target) is not None:
            await piece.write_to(target, offset)
        else:
            await target.pwrite_piece(offset, piece)
    finally:
        source.request_ended()


class _Piece(Piece):
    """A part of what is to be copied."""

    def __init__(
        self,
        completions: Completions,
        found: _Found,
        start: int = 0,
        end: int | None = None,
        *,
        flush_follows: bool,
    ) -> None:
        self._completions = completions
        self._found = found
        self._start = start
        self._end = found.length if end is None else end
        self._flush_follows = flush_follows

    @override
    def __len__(self) -> int:
        return self._end - self._start

    @override
    def part(self, start: int, end: int) -> Self:
        begin = self._start
        return type(self)(
            self._completions,
            self._found,
            begin + start,
            begin + end,
            flush_follows=self._flush_follows,
        )

    @override
    async def write_to(self, node: Beneath, offset: int) -> None:
        assert isinstance(node, Node)
        way, found = Plain.of(node), self._found
        room = way is not None and way.has_room(offset, len(self))
        if way is None or not room or not way.writable() or not _in_threads(way):
            # it has come to be looked at meanwhile, or ends there, which the usual way tells
            start = found.offset + found.way.moved + self._start
            try:
                data = found.way.bytes.parts(start, len(self))
            except BlockIOError:
                found.unreadable = True
                raise
            await node.pwrite(offset, b"".join(data))
            return
        length = len(self)
        way.check_write(offset, length)
        found.way.begin()
        way.begin()
        done = False
        try:
            files = found.way.bytes, way.bytes
            await self._completions.run(files, lambda: self._copy(way, offset), length)
            done = True
        finally:
            way.end_write(offset, length, done=done)
            way.end()
            found.way.end()

    def _copy(self, way: Plain, offset: int) -> None:
        """Copy, in a thread."""
        found, buffers = self._found, self._completions.buffers
        buffer = buffers.pop() if buffers else memoryview(bytearray(_PIECE))
        moved = found.offset + found.way.moved
        to = offset + way.moved - self._start
        for start in range(self._start, self._end, _PIECE):
            piece = buffer[: min(_PIECE, self._end - start)]
            try:
                found.way.bytes.pread_into(start + moved, piece)
            except BlockIOError:
                found.unreadable = True
                raise
            way.bytes.pwrite(start + to, piece)
        buffers.append(buffer)
        if self._flush_follows and way.flushes and isinstance(way.bytes, Image):
            way.bytes.begin_flush(offset + way.moved, len(self))

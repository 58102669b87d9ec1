"""Requests that are answered at once: reads and writes of an image that is exported as it is.

What has arrived is parsed in one go, and the replies leave together.  Whatever is not as usual (a
flag, an error, a filter, a limit, something drained or slow) is left to `NbdSession`, which
begins with the same request anew.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from qmpd.base.override import override
from qmpd.block.drivers.protocols.nbd.protocol import Command, ExportFlag
from qmpd.block.model.plain import Plain
from qmpd.errors import BlockIOError
from qmpd.export.nbd.answering import Answers, Output
from qmpd.export.nbd.options import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.block.model.data import Bytes
    from qmpd.export.nbd.export import NbdExport
    from qmpd.export.nbd.layout import Layout

LONGEST: Final = 1 << 20
"""Bytes of the longest read or write that is done here: others must not wait for it."""

FAIR: Final = 2 << 20
"""Bytes after which others have their turn; each request counts as `_REQUEST` more."""
_REQUEST: Final = 8192

_SENT: Final = 32 << 10
"""Bytes from which on data goes from file to socket without being read."""
_TOGETHER: Final = 256 << 10
"""Bytes of replies after which they leave."""
_PIECES: Final = 512
"""Pieces of replies after which they leave."""
_SECTOR: Final = 512
_LONG: Final = 256 << 10
"""Bytes from which on a write is long: what has come of the next one is not moved for nothing."""

_READ: Final = int(Command.READ)
_WRITE: Final = int(Command.WRITE)


AREA: Final = LONGEST + (64 << 10)
"""Bytes of a buffer that requests arrive in: one at least, and many short ones."""

WORKSPACE: Final = (1 << 20) + _TOGETHER
"""Bytes of a buffer in which replies are put together."""


class _UnusualError(Exception):
    """A request is to be served in the usual way; nothing has been done."""


class AtOnce(Answers):
    """Answers requests of one client.

    :param workspace: a buffer for whoever is at work
    """

    def __init__(
        self, export: NbdExport, layout: Layout, output: Output, workspace: memoryview
    ) -> None:
        self._export = export
        self._backend = export.backend
        self._is_writable = not export.flags & ExportFlag.READ_ONLY
        self._layout = layout
        self._header = layout.request.size
        self._unpack = layout.request.unpack_from
        self._magic = layout.request_magic
        self._done = layout.done
        self._output = output
        self._workspace = workspace
        self._used = 0
        self._replies: list[bytes | memoryview] = []
        self._length = 0
        self._way: Plain | None = None
        self._has_written = False
        self.needed = 0
        self.unit = 0

    @property
    @override
    def possible(self) -> bool:
        return self._plain() is not None

    @override
    def __call__(self, data: bytes | memoryview) -> int:
        """Serve requests.

        :raises Broken: a file could not be read to the end of what its client was told of
        """
        plain, backend = self._way, self._backend
        if (
            plain is None
            or backend.quiesce_counter
            or backend.throttle is not None
            or (root := backend.root) is None
            or not plain.still_from(root.node)
        ):
            plain = self._plain()
        if plain is None:
            self.needed = -1
            return 0
        try:
            return self._serve(plain, data if type(data) is memoryview else memoryview(data))
        finally:
            if self._has_written:
                self._has_written = False
                plain.end_writes()
            if self._replies:
                self._flush()
            if self._output.congested:
                self.needed = 0

    def _plain(self) -> Plain | None:
        backend, root = self._backend, self._backend.root
        if backend.quiesce_counter or backend.throttle is not None or root is None:
            return None
        node, way = root.node, self._way
        if way is None or not way.still_from(node):
            way = self._way = Plain.of(node)
        return way

    def _serve(self, plain: Plain, data: memoryview) -> int:
        size, header, expected = self._export.size, self._header, self._magic
        write: Callable[[int, memoryview], None] | None = None
        position, end, budget = 0, len(data), FAIR
        while True:
            if end - position < header:
                self.needed = header
                return position
            magic, flags, command, cookie, offset, length = self._unpack(data, position)
            usual = (
                magic == expected
                and not flags
                and 0 < length <= LONGEST
                and offset + length <= size
            )
            after = position + header
            try:
                if usual and command == _READ:
                    self.unit = 0
                    self._read(plain.bytes, plain.moved, cookie, offset, length)
                elif usual and command == _WRITE:
                    if write is None:
                        write = self._writes(plain)
                        self._has_written = True
                    if end - after < length:
                        self.needed = header + length
                        return position
                    begin, after = after, after + length
                    write(offset, data[begin:after])
                    reply = self._done(cookie, offset)
                    self._replies.append(reply)
                    self._length += len(reply)
                    self.unit = header + length if length >= _LONG else 0
                else:
                    self.needed = -1
                    return position
            except (BlockIOError, _UnusualError):
                self.needed = -1
                return position
            except MemoryError:
                self._drop_begun()
                self.needed = -1
                return position
            position = after
            budget -= length + _REQUEST
            if position == end:
                self.needed = header
                return position
            if self._length >= _TOGETHER or len(self._replies) >= _PIECES:
                self._flush()
            if budget <= 0 or self._output.congested:
                self.needed = 0
                return position

    def _writes(self, plain: Plain) -> Callable[[int, memoryview], None]:
        """What writes.

        :raises _UnusualError: writes are not served here
        """
        if not self._is_writable or not self._backend.enable_write_cache:
            raise _UnusualError
        if plain.takes_writes():
            return plain.write_on
        if plain.writable():
            return plain.write
        raise _UnusualError

    def _read(self, source: Bytes, moved: int, cookie: int, offset: int, length: int) -> None:
        layout = self._layout
        if layout.structured:
            is_data, count = source.extent(offset + moved, length)
            if count < length:
                self._read_pieces(source, moved, cookie, offset, length)
                return
            if not is_data:
                self._reply(layout.hole(cookie, offset, offset, length, last=True))
                return
        head = layout.data(cookie, offset, offset, length, last=True)
        if source.fd >= 0:
            self._data(source, head, offset + moved, length, alone=True)
            return
        parts = source.parts(offset + moved, length)
        replies = self._replies
        replies.append(head)
        replies += parts
        self._length += len(head) + length

    def _read_pieces(
        self, source: Bytes, moved: int, cookie: int, offset: int, length: int
    ) -> None:
        """Read what is not all data."""
        layout = self._layout
        begun, used, total = len(self._replies), self._used, self._length
        start, end = offset, offset + length
        try:
            while start < end:
                is_data, count = source.extent(start + moved, end - start)
                if count % _SECTOR and start + count < end:
                    # the file ends there, or whoever answers has to look closer
                    raise _UnusualError
                last = start + count == end
                if not is_data:
                    self._reply(layout.hole(cookie, offset, start, count, last=last))
                else:
                    head = layout.data(cookie, offset, start, count, last=last)
                    self._data(source, head, start + moved, count, alone=count == length)
                start += count
        except (BlockIOError, _UnusualError, MemoryError):
            # nothing of the request has left
            if len(self._replies) >= begun:
                del self._replies[begun:]
                self._used, self._length = used, total
            raise

    def _data(self, source: Bytes, head: bytes, offset: int, length: int, *, alone: bool) -> None:
        """Add data to the replies.

        :param alone: whether they are the whole answer
        """
        fd = source.fd
        if fd < 0:
            parts = source.parts(offset, length)
            self._replies.append(head)
            self._replies += parts
            self._length += len(head) + length
        elif length >= _SENT and alone:
            self._flush()
            self._send_file(source, head, offset, length)
        else:
            self._copy(source, head, offset, length)

    def _send_file(self, source: Bytes, head: bytes, offset: int, length: int) -> None:
        if self._output.congested or not source.read_cached(
            offset + length - 1, self._workspace[:1]
        ):
            raise _UnusualError
        sent = self._output.send_file(head, source.fd, offset, length)
        if sent == len(head) + length:
            return
        done = max(0, sent - len(head))
        try:
            rest = source.parts(offset + done, length - done)
        except BlockIOError as error:
            reason = f"reading from file failed: {os.strerror(error.errno)}"
            raise Broken(f"Failed to send reply: {reason}") from None
        size = len(head) + length - sent
        self._output.write_parts([head[sent:], *rest], size, lasting=True)

    def _copy(self, source: Bytes, head: bytes, offset: int, length: int) -> None:
        """Read into the workspace."""
        room = len(head) + length
        if self._used + room > len(self._workspace):
            raise _UnusualError
        area = self._workspace[self._used : self._used + room]
        if not source.read_cached(offset, area[len(head) :]):
            raise _UnusualError
        area[: len(head)] = head
        self._used += room
        self._reply(area)

    def _drop_begun(self) -> None:
        """Drop what the replies have of a request that is served anew: its length is not in."""
        size = sum(map(len, self._replies))
        while size > self._length:
            size -= len(self._replies.pop())

    def _reply(self, part: bytes | memoryview) -> None:
        self._replies.append(part)
        self._length += len(part)

    def _flush(self) -> None:
        """Let the replies leave."""
        if self._replies:
            replies, self._replies = self._replies, []
            lasting = not self._used
            size, self._length, self._used = self._length, 0, 0
            self._output.write_parts(replies, size, lasting=lasting)

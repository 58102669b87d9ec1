"""Replies of a server, and which request each is for."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from qmpd.block.drivers.protocols.nbd.protocol import (
    CHUNK,
    DONE,
    EXTENDED_CHUNK,
    EXTENDED_REPLY_MAGIC,
    MAX_BUFFER,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    ChunkType,
    Command,
    Mode,
    system_error,
)
from qmpd.loop.stream import Disconnected
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.block.drivers.protocols.nbd.export_info import ExportInfo
    from qmpd.block.drivers.protocols.nbd.options import Stream

_LONGEST_PAYLOAD: Final = 1000
"""Bytes of the longest chunk that is no data."""


class Broken(Exception):
    """A connection cannot be used any more.

    :param code: the errno of the request
    :param state_errno: EIO where the server has left, EINVAL where it has broken the protocol; as
        `code` if absent
    """

    def __init__(self, code: int, state_errno: int | None = None) -> None:
        super().__init__(code)
        self.errno = code
        self.state_errno = code if state_errno is None else state_errno


class Request:
    """One request, and what has come of it.

    :param offset: bytes
    :param length: bytes
    :param flags: CommandFlag
    """

    __slots__ = (
        *("command", "cookie", "data", "error", "extent", "flags", "length", "offset"),
        *("only_structured", "waiter"),
    )

    def __init__(self, command: int, offset: int, length: int, flags: int = 0) -> None:
        self.command = command
        self.offset = offset
        self.length = length
        self.flags = flags
        self.begin()

    def begin(self) -> None:
        """Forget what has come of it on another connection."""
        self.cookie = 0
        self.error = 0
        self.waiter: Waiter | None = None
        self.data: bytes | bytearray = b""
        self.extent: tuple[int, int] | None = None
        self.only_structured = False

    def put(self, offset: int, data: bytes) -> None:
        """Take data of a read that has been asked for.

        :raises Broken: it has not
        """
        start = self._place(offset, len(data))
        if len(data) == self.length:
            self.data = data
            return
        buffer = self._buffer()
        buffer[start : start + len(data)] = data

    def put_zeroes(self, offset: int, length: int) -> None:
        """Take zeroes of a read.

        :raises Broken: they have not been asked for
        """
        start = self._place(offset, length)
        buffer = self._buffer()
        buffer[start : start + length] = bytes(length)

    def _place(self, offset: int, length: int) -> int:
        start = offset - self.offset
        if not length or start < 0 or start + length > self.length:
            raise Broken(errno.EINVAL)
        return start

    def _buffer(self) -> bytearray:
        if not isinstance(self.data, bytearray):
            self.data = bytearray(self.data.ljust(self.length, b"\0"))
        return self.data


class _Header(NamedTuple):
    """The header of a reply; `kind` is None for a simple one, whose `length` is its error."""

    cookie: int
    kind: int | None
    flags: int
    length: int


class Replies:
    """Reads replies for all requests of one connection.

    Whichever request waits reads what comes, and wakes the one that it is for.

    :param requests: those under way, each at the place of its cookie
    :param failed: told that the connection has failed, with the errno of `Broken.state_errno`
    """

    def __init__(
        self,
        stream: Stream,
        info: ExportInfo,
        requests: Sequence[Request | None],
        failed: Callable[[int], None],
    ) -> None:
        self._failed = failed
        self._stream = stream
        self._info = info
        self._requests = requests
        self._reply: _Header | None = None
        self._reading = False

    async def receive(self, request: Request) -> None:
        """Read all that is said to a request.

        :raises Broken: the connection has failed
        """
        request.only_structured = (
            request.command == Command.READ and self._info.mode >= Mode.STRUCTURED
        )
        done = False
        while not done:
            try:
                done = await self._one(request)
            except Disconnected:
                self._failed(errno.EIO)
                raise Broken(errno.EIO) from None
            except Broken as error:
                self._failed(error.state_errno)
                raise
            finally:
                self._reply = None
                self.wake_next()
        if request.command == Command.BLOCK_STATUS and not request.extent and not request.error:
            # the server keeps to the protocol as far as can be told: the connection stays
            request.error = errno.EIO

    async def _one(self, request: Request) -> bool:
        """Read one reply, or chunk of one; returns whether it was the last."""
        header = await self._header(request)
        if header.kind is None:
            await self._simple(request, header.length)
            return True
        return await self._chunk(request, header, header.kind)

    # Whose turn it is

    async def _header(self, request: Request) -> _Header:
        """Wait for a header for `request` (``nbd_receive_replies``).

        :raises Broken: the connection has failed
        """
        while True:
            if self._reply is not None and self._reply.cookie == request.cookie:
                return self._reply
            if self._reply is not None or self._reading:
                request.waiter = Waiter(direct=True)
                await request.waiter
                continue
            self._reading = True
            try:
                self._reply = reply = await self._read_header()
            finally:
                self._reading = False
            if reply.cookie != request.cookie:
                other = self._requests[reply.cookie - 1]
                assert other is not None
                _wake(other)

    async def _read_header(self) -> _Header:
        (magic,) = struct.unpack(">I", await self._stream.read(4))
        if magic == SIMPLE_REPLY_MAGIC:
            rest = await self._stream.read(SIMPLE_REPLY.size - 4)
            error, cookie = struct.unpack(">IQ", rest)
            header = _Header(cookie, None, 0, error)
        elif magic == STRUCTURED_REPLY_MAGIC:
            rest = await self._stream.read(CHUNK.size - 4)
            flags, kind, cookie, length = struct.unpack(">HHQI", rest)
            header = _Header(cookie, kind, flags, length)
        elif magic == EXTENDED_REPLY_MAGIC:
            rest = await self._stream.read(EXTENDED_CHUNK.size - 4)
            flags, kind, cookie, _, length = struct.unpack(">HHQQQ", rest)
            header = _Header(cookie, kind, flags, length)
        else:
            raise _protocol_error()
        if header.kind is not None and (
            header.length > MAX_BUFFER + 8 or self._info.mode < Mode.STRUCTURED
        ):
            raise _protocol_error()
        if not 1 <= header.cookie <= len(self._requests):
            raise _protocol_error()
        if self._requests[header.cookie - 1] is None:
            raise _protocol_error()
        return header

    def wake_next(self) -> None:
        """Let another request read, if one waits."""
        for request in self._requests:
            if request is not None and request.waiter is not None:
                _wake(request)
                return

    # What replies say

    async def _simple(self, request: Request, code: int) -> None:
        if request.only_structured:
            raise Broken(errno.EINVAL)
        request.error = request.error or system_error(code)
        if not code and request.command == Command.READ:
            request.data = await self._stream.read(request.length)

    async def _chunk(self, request: Request, header: _Header, kind: int) -> bool:
        """Take one chunk of a structured reply; returns whether it was the last."""
        last = bool(header.flags & DONE)
        request.only_structured = True
        if kind == ChunkType.NONE:
            if not last or header.length:
                raise Broken(errno.EINVAL)
            return True
        if kind == ChunkType.OFFSET_DATA:
            await self._data(request, header.length)
            return last
        payload = await self._payload(request, header.length, kind)
        if ChunkType.is_error(kind):
            _take_error(request, payload)
        elif kind == ChunkType.OFFSET_HOLE and request.command == Command.READ:
            if len(payload) != 12:
                raise Broken(errno.EINVAL)
            request.put_zeroes(*struct.unpack(">QI", payload))
        elif request.command == Command.BLOCK_STATUS and kind in (
            ChunkType.BLOCK_STATUS,
            ChunkType.BLOCK_STATUS_EXT,
        ):
            if request.extent is not None:
                raise Broken(errno.EINVAL)
            wide = kind == ChunkType.BLOCK_STATUS_EXT
            request.extent = _extent(payload, self._info, request.length, wide=wide)
        elif request.command in (Command.READ, Command.BLOCK_STATUS):
            raise Broken(errno.EINVAL)
        return last

    async def _data(self, request: Request, length: int) -> None:
        if request.command != Command.READ or length <= 8:
            raise Broken(errno.EINVAL)
        (offset,) = struct.unpack(">Q", await self._stream.read(8))
        if length - 8 > request.length:
            raise Broken(errno.EINVAL)
        request.put(offset, await self._stream.read(length - 8))

    async def _payload(self, request: Request, length: int, kind: int) -> bytes:
        """Read what a chunk that is no data says (``nbd_co_receive_structured_payload``)."""
        if not length:
            return b""
        takes = request.command in (Command.READ, Command.BLOCK_STATUS)
        if not (takes or ChunkType.is_error(kind)) or length > _LONGEST_PAYLOAD:
            raise Broken(errno.EINVAL)
        return await self._stream.read(length)


def _protocol_error() -> Broken:
    """A header that cannot be: the request fails with EIO, and nothing is tried again."""
    return Broken(errno.EIO, errno.EINVAL)


def _wake(request: Request) -> None:
    waiter, request.waiter = request.waiter, None
    if waiter is not None:
        waiter.wake()


def _take_error(request: Request, payload: bytes) -> None:
    """Take an error of the server (``nbd_parse_error_payload``)."""
    if len(payload) < 6:
        raise Broken(errno.EINVAL)
    number, size = struct.unpack(">IH", payload[:6])
    code = system_error(number)
    if not code:
        raise Broken(errno.EINVAL)
    request.error = request.error or code
    if size > len(payload) - 6:
        raise Broken(errno.EINVAL)


def _extent(payload: bytes, info: ExportInfo, wanted: int, *, wide: bool) -> tuple[int, int]:
    """The first extent that a chunk tells of: length and status flags.

    What a server has told beyond the first, or beyond the request, is ignored
    (``nbd_parse_blockstatus_payload``).
    """
    layout = ">IIQQ" if wide else ">III"
    size = struct.calcsize(layout)
    if len(payload) < size:
        raise Broken(errno.EINVAL)
    fields = struct.unpack(layout, payload[:size])
    length, flags = fields[-2:]
    if fields[0] != info.context or not length:
        raise Broken(errno.EINVAL)
    smallest = info.min_block
    if smallest and length % smallest:
        if length > smallest:
            length -= length % smallest
        else:
            length, flags = smallest, 0
    return min(length, wanted), flags

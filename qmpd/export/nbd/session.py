"""The requests of an NBD connection, after its handshake."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from qmpd.base.memory import there_is
from qmpd.block.drivers.protocols.nbd.protocol import (
    ENDED,
    FLAGS_OF,
    MAX_BUFFER,
    MAX_EXTENTS,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    ChunkType,
    Command,
    CommandFlag,
    ExportFlag,
    Mode,
    command_name,
    wire_error,
)
from qmpd.block.io.chain_status import block_status_above
from qmpd.block.io.sync_ahead import sync_ahead
from qmpd.errors import BlockIOError
from qmpd.export.nbd.export import Context
from qmpd.export.nbd.extents import extents_of, packed
from qmpd.export.nbd.layout import LAYOUTS
from qmpd.export.nbd.negotiation import Negotiated
from qmpd.export.nbd.options import Broken
from qmpd.loop.stream import Disconnected

_FAILURES: Final[Mapping[Command, str]] = MappingProxyType(
    {
        Command.READ: "reading from file failed",
        Command.WRITE: "writing to file failed",
        Command.FLUSH: "flush failed",
        Command.TRIM: "discard failed",
        Command.CACHE: "caching data failed",
        Command.WRITE_ZEROES: "writing to file failed",
        Command.BLOCK_STATUS: "can't get block status",
    }
)
"""What a client is told of a request that the image fails (``nbd_handle_request``)."""

_CHANGES: Final = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})

_INTERMEDIATE: Final = "Request handling failed in intermediate state"

_NO_MEMORY: Final = "No memory"

_SHORT: Final = 1 << 18
"""Bytes of a request up to which memory is not looked for before there is need of it."""
_HELD: Final = 3
"""How often the data of a request is held, at most."""
_MARGIN: Final = 12 << 20
"""Bytes that such data leaves to others."""

_NO_LENGTH: Final = "need non-zero length"


class _Refused(Exception):
    """A request is refused: an errno and a text.

    :param is_last: whether what follows cannot be told from data any more
    """

    def __init__(self, code: int, text: str, *, is_last: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.is_last = is_last


def _can_be_held(length: int) -> bool:
    """Whether there is memory for the data of a request."""
    return length <= _SHORT or there_is(_HELD * length + _MARGIN)


@dataclass(slots=True)
class _Request:
    """The header of a request."""

    flags: int = 0
    command: int = 0
    cookie: int = 0
    offset: int = 0
    length: int = 0
    contexts: list[tuple[int, Context]] = field(default_factory=list)


class NbdSession:
    """Serves a client's requests, one after the other."""

    def __init__(
        self, agreed: Negotiated, at_once: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._at_once = at_once
        self._channel = agreed.channel
        self._layout = LAYOUTS[agreed.mode]
        self._export = agreed.export
        self._backend = agreed.export.backend
        self._mode = agreed.mode
        self._structured = agreed.mode >= Mode.STRUCTURED
        self._request = self._layout.request
        self._magic = self._layout.request_magic
        self._contexts = agreed.contexts
        self._dialect = agreed.dialect
        self._clock = agreed.export.node.services.loop
        self._patiently = self._clock.completions.patiently

    async def run(self) -> None:
        """Serve until the client leaves.

        :raises Disconnected: it left without a disconnect request, or broke the protocol
        """
        while True:
            if self._at_once is not None:
                await self._at_once()
            fields = self._request.unpack(await self._header())
            request = _Request(*fields[1:])
            if fields[0] != self._magic:
                if self._dialect.answers_bad_magic:
                    await self._fail(request, errno.EINVAL, self._bad_magic(fields[0]))
                raise Broken(_INTERMEDIATE)
            if request.command == Command.DISC:
                return
            try:
                payload = await self._receive(request)
                await self._serve(request, payload)
            except _Refused as error:
                await self._fail(request, error.code, str(error))
                if error.is_last:
                    raise Broken(_INTERMEDIATE) from None
            except BlockIOError as error:
                await self._fail(request, error.errno, _FAILURES[Command(request.command)])
            except MemoryError:
                self._clock.no_memory()
                await self._fail(request, errno.ENOMEM, _NO_MEMORY)

    def _bad_magic(self, magic: int) -> str:
        expected = f", expected 0x{self._magic:x}" if self._dialect.extended_headers else ""
        return f"invalid magic (got 0x{magic:x}{expected})"

    def _check_length(self, length: int, *, is_last: bool) -> None:
        """Refuse a request that is longer than any buffer.

        :raises _Refused: it is
        """
        if length > MAX_BUFFER:
            blank = "" if self._dialect.extended_headers else " "
            text = f"len ({length}{blank}) is larger than max len ({MAX_BUFFER})"
            raise _Refused(errno.EINVAL, text, is_last=is_last)

    async def _header(self) -> bytes:
        """Read the header of a request.

        :raises Disconnected: the client has left
        """
        size = self._request.size
        try:
            return await self._channel.read(size)
        except Disconnected:
            if self._channel.partial:
                raise Broken("Unexpected end-of-file before all bytes were read") from None
            raise

    async def _receive(self, request: _Request) -> bytes:
        """Read and check what belongs to a request (``nbd_co_receive_request``).

        :returns: what a write writes
        :raises _Refused: the request cannot be served
        """
        command, length = request.command, request.length
        flags = int(CommandFlag.FUA) | FLAGS_OF.get(command, 0)
        extended = self._mode is Mode.EXTENDED
        has_payload = extended and bool(request.flags & CommandFlag.PAYLOAD_LEN)
        payload = b""
        if command == Command.WRITE:
            flags |= int(CommandFlag.PAYLOAD_LEN) if extended else 0
            self._check_length(length, is_last=length > 0)
            payload = await self._payload(length, "CMD_WRITE data")
        elif command == Command.BLOCK_STATUS and has_payload:
            flags |= int(CommandFlag.PAYLOAD_LEN)
            await self._choose(request)
        else:
            request.contexts = self._contexts
            if command == Command.READ and self._structured:
                flags |= int(CommandFlag.DF)
            if has_payload or command in (Command.READ, Command.CACHE):
                self._check_length(length, is_last=has_payload and length > 0)
            if has_payload:
                await self._channel.skip(length)
                request.length = 0
        self._check(request, flags)
        return payload

    async def _payload(self, length: int, what: str) -> bytes:
        """Read what follows the header of a request.

        :raises Broken: the client has left
        :raises _Refused: there is no memory for it, and it has been dropped
        """
        try:
            if _can_be_held(length):
                return await self._channel.read(length)
        except Disconnected:
            raise Broken(f"Failed to read {what}: {ENDED}") from None
        except MemoryError:
            self._clock.no_memory()
        # others go on meanwhile, and with what follows this client does
        await self._channel.skip(length)
        raise _Refused(errno.ENOMEM, _NO_MEMORY)

    async def _choose(self, request: _Request) -> None:
        """Read which contexts a block status request wants (``nbd_co_block_status_payload_read``).

        Where it is malformed, none is chosen, and the request is about nothing.
        """
        length = request.length
        self._check_length(length, is_last=True)
        request.length, request.contexts = 0, []
        if length % 4 or not 8 <= length <= 8 + 4 * len(self._contexts):
            await self._channel.skip(length)
            return
        payload = await self._payload(length, "CMD_BLOCK_STATUS data")
        size, *wanted = struct.unpack(f">Q{(length - 8) // 4}I", payload)
        known = {number for number, _ in self._contexts}
        if len(set(wanted)) == len(wanted) and known.issuperset(wanted):
            request.length = size
            request.contexts = [entry for entry in self._contexts if entry[0] in wanted]

    def _check(self, request: _Request, allowed: int) -> None:
        """Refuse what is outside of the export, or has flags that it cannot have.

        :param allowed: the flags that it can have
        """
        flags, command = request.flags, request.command
        offset, length = request.offset, request.length
        size = self._export.size
        if command in _CHANGES and self._export.flags & ExportFlag.READ_ONLY:
            raise _Refused(errno.EINVAL, "Export is read-only")
        if offset + length > size:
            text = f"operation past EOF; From: {offset}, Len: {length}, Size: {size}"
            raise _Refused(errno.EINVAL, text)
        if flags & ~allowed:
            name = command_name(command)
            raise _Refused(errno.EINVAL, f"unsupported flags for command {name} (got 0x{flags:x})")

    async def _serve(self, request: _Request, payload: bytes) -> None:
        command = request.command
        if not self._export.node.active and command != Command.READ:
            raise _Refused(errno.EPERM, "export is inactive")
        if command == Command.READ:
            if not _can_be_held(request.length):
                raise _Refused(errno.ENOMEM, _NO_MEMORY)
            if request.flags & CommandFlag.FUA:
                await self._patiently(self._flush())
            await self._read(request)
            return
        if command == Command.BLOCK_STATUS:
            await self._block_status(request)
            return
        if command not in _FAILURES:
            raise _Refused(errno.EINVAL, f"invalid request type ({command}) received")
        await self._patiently(self._change(request, payload))
        await self._channel.write(self._layout.done(request.cookie, request.offset))

    async def _flush(self) -> None:
        """Flush in order to read.

        :raises _Refused: it fails
        """
        try:
            await sync_ahead(self._backend.node)
            await self._backend.flush()
        except BlockIOError as error:
            raise _Refused(error.errno, "flush failed") from None

    async def _change(self, request: _Request, payload: bytes) -> None:
        """Do a request whose reply has no data."""
        backend = self._backend
        flags, command = request.flags, request.command
        offset, length = request.offset, request.length
        fua = bool(flags & CommandFlag.FUA)
        if fua or command == Command.FLUSH:
            await sync_ahead(backend.node)
        if command == Command.WRITE:
            await backend.pwrite(offset, payload, fua=fua)
        elif command == Command.WRITE_ZEROES:
            await backend.pwrite_zeroes(
                offset,
                length,
                may_unmap=not flags & CommandFlag.NO_HOLE,
                fua=fua,
                no_fallback=bool(flags & CommandFlag.FAST_ZERO),
            )
        elif command == Command.TRIM:
            await backend.pdiscard(offset, length)
            if fua:
                await backend.flush()
        elif command == Command.FLUSH:
            await backend.flush()

    async def _fail(self, request: _Request, code: int, text: str) -> None:
        number = wire_error(code)
        if not self._structured:
            reply = SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, number, request.cookie)
            await self._channel.write(reply)
            return
        message = text.encode()[:4096]
        data = struct.pack(">IH", number, len(message)) + message
        await self._chunk(request, ChunkType.ERROR, data, last=True)

    async def _chunk(self, request: _Request, kind: int, data: bytes, *, last: bool) -> None:
        header = self._layout.chunk(kind, request.cookie, request.offset, len(data), last=last)
        await self._channel.write(header + data)

    async def _read(self, request: _Request) -> None:
        offset, length = request.offset, request.length
        if not self._structured:
            data: bytes = await self._backend.pread(offset, length)
            header = self._layout.done(request.cookie, offset)
            await self._channel.write(header + data)
            return
        if not length:
            await self._chunk(request, ChunkType.NONE, b"", last=True)
            return
        whole = request.flags & CommandFlag.DF
        end = offset + length
        while offset < end:
            zero, count = False, end - offset
            if not whole:
                zero, count = await self._is_hole(offset, end - offset)
            last = offset + count == end
            cookie, asked = request.cookie, request.offset
            if zero:
                await self._channel.write(
                    self._layout.hole(cookie, asked, offset, count, last=last)
                )
            else:
                data = await self._part(offset, count, whole=bool(whole))
                head = self._layout.data(cookie, asked, offset, count, last=last)
                await self._channel.write(head + data)
            offset += count

    async def _part(self, offset: int, length: int, *, whole: bool) -> bytes:
        """Read what one chunk shows.

        :param whole: whether the client wants all of its read in one chunk
        :raises Disconnected: it fails, and may have been answered in part: QEMU cuts such a client
            off, even where nothing has been sent (``nbd_co_send_sparse_read``)
        """
        try:
            return await self._backend.pread(offset, length)
        except BlockIOError as error:
            if whole:
                raise
            reason = f"reading from file failed: {os.strerror(error.errno)}"
            raise Broken(f"Failed to send reply: {reason}") from None

    async def _is_hole(self, offset: int, length: int) -> tuple[bool, int]:
        try:
            status = await block_status_above(self._export.node, None, offset, length)
        except BlockIOError as error:
            text = f"unable to check for holes: {os.strerror(error.errno)}"
            raise _Refused(error.errno, text) from None
        return status.zero and bool(status.length), status.length or length

    async def _block_status(self, request: _Request) -> None:
        contexts = request.contexts
        if not request.length and not self._dialect.extended_headers:
            raise _Refused(errno.EINVAL, _NO_LENGTH)
        if not contexts:
            if self._contexts:
                raise _Refused(errno.EINVAL, "CMD_BLOCK_STATUS payload not valid")
            raise _Refused(errno.EINVAL, "CMD_BLOCK_STATUS not negotiated")
        if not request.length:
            raise _Refused(errno.EINVAL, _NO_LENGTH)
        for position, (number, context) in enumerate(contexts, 1):
            lengths, states = await extents_of(
                context,
                request.offset,
                request.length,
                1 if request.flags & CommandFlag.REQ_ONE else MAX_EXTENTS,
            )
            if self._mode is Mode.EXTENDED:
                data = struct.pack(">II", number, len(lengths)) + packed("Q", lengths, states)
                kind = ChunkType.BLOCK_STATUS_EXT
            else:
                data = struct.pack(">I", number) + packed("I", lengths, states)
                kind = ChunkType.BLOCK_STATUS
            await self._chunk(request, kind, data, last=position == len(contexts))

"""The client's side of the handshake of an NBD connection (``nbd_receive_negotiate``)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.protocols.nbd.export_info import ExportInfo
from qmpd.block.drivers.protocols.nbd.options import Options
from qmpd.block.drivers.protocols.nbd.protocol import (
    FIXED_NEWSTYLE,
    MAGIC,
    MAX_BUFFER,
    MAX_STRING,
    NO_ZEROES,
    OLDSTYLE_MAGIC,
    OPTION_MAGIC,
    Info,
    Mode,
    Option,
    OptionReply,
    reply_name,
)
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qmpd.block.drivers.protocols.nbd.options import Stream

_WANTED: Final = struct.pack(">HH", 1, Info.BLOCK_SIZE)
"""What is asked of an export besides its size."""

_PADDING: Final = 124
"""Zeroes behind what servers of long ago said of an export."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants of a server.

    :param export: name of the export
    :param context: the metadata context that block status is asked of
    """

    export: bytes
    context: bytes


class Handshake:
    """One handshake.

    :param encrypt: goes over to TLS, and returns the stream inside it; None to do without
    """

    def __init__(
        self,
        stream: Stream,
        wanted: Wanted,
        encrypt: Callable[[], Awaitable[Stream]] | None = None,
    ) -> None:
        self.stream = stream
        """The connection as it is to be used from now on."""
        self._options = Options(stream)
        self._wanted = wanted
        self._encrypt = encrypt

    async def run(self) -> ExportInfo:
        """Agree with the server on the export.

        :raises GenericError: it has none, or breaks the protocol
        """
        (magic,) = struct.unpack(">Q", await self._options.read(8, "initial magic"))
        if magic != int.from_bytes(MAGIC, "big"):
            raise GenericError(f"Bad initial magic received: 0x{magic:x}")
        (magic,) = struct.unpack(">Q", await self._options.read(8, "server magic"))
        if magic == OLDSTYLE_MAGIC:
            return await self._oldstyle()
        if magic != int.from_bytes(OPTION_MAGIC, "big"):
            raise GenericError(f"Bad server magic received: 0x{magic:x}")
        (offered,) = struct.unpack(">H", await self._options.read(2, "server flags"))
        flags = offered & (FIXED_NEWSTYLE | NO_ZEROES)
        await self._options.write(struct.pack(">I", flags), "clientflags field")
        info = ExportInfo()
        try:
            if await self._newstyle(info, fixed=bool(flags & FIXED_NEWSTYLE)):
                return info
        except GenericError:
            await self._options.abort()
            raise
        await self._by_name(info)
        if not flags & NO_ZEROES:
            await self._options.skip(_PADDING, "reserved block")
        return info

    async def _oldstyle(self) -> ExportInfo:
        """Take the only export of a server that knows no options."""
        if self._encrypt is not None:
            raise GenericError("Server does not support STARTTLS")
        if self._wanted.export:
            raise GenericError("Server does not support non-empty export names")
        info = ExportInfo()
        (info.size,) = struct.unpack(">Q", await self._options.read(8, "export length"))
        (flags,) = struct.unpack(">I", await self._options.read(4, "export flags"))
        if flags & ~0xFFFF:
            # the x is QEMU's, which has the format twice
            raise GenericError(f"Unexpected export flags {flags:x}x")
        info.flags = flags
        await self._options.skip(_PADDING, "reserved block")
        return info

    async def _newstyle(self, info: ExportInfo, *, fixed: bool) -> bool:
        """Go through the options; returns whether the export has been entered by them."""
        if self._encrypt is not None:
            if not fixed:
                raise GenericError("Server does not support STARTTLS")
            await self._start_tls(self._encrypt)
        if not fixed:
            return False
        if await self._options.simple(Option.EXTENDED_HEADERS, strict=False):
            info.mode = Mode.EXTENDED
        elif await self._options.simple(Option.STRUCTURED_REPLY, strict=False):
            info.mode = Mode.STRUCTURED
        if info.mode >= Mode.STRUCTURED:
            await self._choose_context(info)
        if await self._go(info):
            return True
        await self._look_for_export()
        return False

    async def _start_tls(self, encrypt: Callable[[], Awaitable[Stream]]) -> None:
        if not await self._options.simple(Option.STARTTLS, strict=True):
            raise GenericError("Server don't support STARTTLS option")
        self.stream = await encrypt()
        self._options = Options(self.stream)

    async def _choose_context(self, info: ExportInfo) -> None:
        """Choose the metadata context (``nbd_negotiate_simple_meta_context``)."""
        option, wanted = Option.SET_META_CONTEXT, self._wanted
        query = struct.pack(">II", 1, len(wanted.context)) + wanted.context
        await self._options.send(option, _string(wanted.export) + query)
        found = await self._context()
        if found is None:
            return
        number, name = found
        name = name.partition(b"\0")[0]
        if name != wanted.context:
            shown = wanted.context.decode("utf-8", "surrogateescape")
            other = name.decode("utf-8", "surrogateescape")
            raise GenericError(
                f"Failed to negotiate meta context '{shown}', server answered with different"
                f" context '{other}'"
            )
        info.context = number
        if await self._context() is not None:
            raise GenericError("Server answered with more than one context")

    async def _context(self) -> tuple[int, bytes] | None:
        """Read number and name of one context; None where there is none, or no more."""
        option = Option.SET_META_CONTEXT
        reply = await self._options.reply(option)
        if not await self._options.accepted(option, reply, strict=False):
            return None
        if reply.kind == OptionReply.ACK:
            if reply.length:
                raise GenericError("Unexpected length to ACK response")
            return None
        _expect(reply.kind, OptionReply.META_CONTEXT, "Unexpected reply type")
        if reply.length <= 4 or reply.length > MAX_BUFFER:
            raise GenericError(
                "Failed to negotiate meta context, server answered with unexpected"
                f" length {reply.length}"
            )
        (number,) = struct.unpack(">I", await self._options.read(4, "context id"))
        return number, await self._options.read(reply.length - 4, "context name")

    async def _go(self, info: ExportInfo) -> bool:
        """Enter the export (NBD_OPT_GO); returns False where the server does not know how."""
        option = Option.GO
        await self._options.send(option, _string(self._wanted.export) + _WANTED)
        while True:
            reply = await self._options.reply(option)
            if not await self._options.accepted(option, reply, strict=True):
                return False
            if reply.kind == OptionReply.ACK:
                if reply.length:
                    raise GenericError("server sent invalid NBD_REP_ACK")
                if not info.flags:
                    raise GenericError("broken server omitted NBD_INFO_EXPORT")
                return True
            _expect(reply.kind, OptionReply.INFO, "unexpected reply type")
            if reply.length < 2:
                raise GenericError(f"NBD_REP_INFO length {reply.length} is too short")
            await self._take_info(info, reply.length - 2)

    async def _take_info(self, info: ExportInfo, length: int) -> None:
        (kind,) = struct.unpack(">H", await self._options.read(2, "info type"))
        if kind == Info.EXPORT:
            if length == 10:
                info.take_export(await self._options.read(length, "info size"))
                return
        elif kind == Info.BLOCK_SIZE:
            if length == 12:
                info.take_sizes(await self._options.read(length, "info minimum block size"))
                return
        else:
            await self._options.skip(length, "info payload")
            return
        raise GenericError(f"remaining export info len {length} is unexpected size")

    async def _look_for_export(self) -> None:
        """See whether the export is there, for a better error (``nbd_receive_query_exports``)."""
        option = Option.LIST
        await self._options.send(option)
        empty, found = True, False
        while True:
            reply = await self._options.reply(option)
            if not await self._options.accepted(option, reply, strict=True):
                break
            if reply.kind == OptionReply.ACK:
                if reply.length:
                    raise GenericError("length too long for option end")
                break
            _expect(reply.kind, OptionReply.SERVER, "Unexpected reply type")
            empty = False
            found |= await self._listed(reply.length) == self._wanted.export
        if not empty and not found:
            name = self._wanted.export.decode("utf-8", "surrogateescape")
            raise GenericError(f"No export with name '{name}' available")

    async def _listed(self, length: int) -> bytes:
        """Read the name of an export in a list, and drop what is said of it."""
        if length < 4 or length > MAX_BUFFER:
            raise GenericError(f"incorrect option length {length}")
        (size,) = struct.unpack(">I", await self._options.read(4, "option name length"))
        rest = length - 4
        if rest < size or size > MAX_STRING:
            raise GenericError("incorrect name length in server's list response")
        name = await self._options.read(size, "export name")
        rest -= size
        if rest > MAX_STRING:
            raise GenericError("incorrect description length in server's list response")
        await self._options.skip(rest, "export description")
        return name

    async def _by_name(self, info: ExportInfo) -> None:
        """Enter the export in the old way (NBD_OPT_EXPORT_NAME)."""
        await self._options.send(Option.EXPORT_NAME, self._wanted.export)
        (info.size,) = struct.unpack(">Q", await self._options.read(8, "export length"))
        (info.flags,) = struct.unpack(">H", await self._options.read(2, "export flags"))


def _string(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _expect(kind: int, expected: OptionReply, what: str) -> None:
    if kind != expected:
        raise GenericError(
            f"{what} {kind} ({reply_name(kind)}), expected {int(expected)} ({reply_name(expected)})"
        )

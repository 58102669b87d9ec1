"""The handshake of an NBD connection: fixed newstyle (``nbd_negotiate``)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from qmpd.block.drivers.protocols.nbd.protocol import (
    FIXED_NEWSTYLE,
    MAGIC,
    MAX_BUFFER,
    MAX_STRING,
    NO_ZEROES,
    OPTION_HEADER,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    ExportFlag,
    Info,
    Mode,
    Option,
    OptionReply,
)
from qmpd.block.model.limits import BlockLimits
from qmpd.export.nbd.export import Context, NbdExport
from qmpd.loop.stream import Disconnected

_SHOWN_NAME: Final = 80
"""Bytes of a name that messages show (`nbd_sanitize_name`)."""


class Channel(Protocol):
    """A connection."""

    async def read(self, length: int) -> bytes:
        """Read exactly `length` bytes.

        :raises Disconnected: the input ends before
        """

    async def write(self, data: bytes) -> None:
        """Send bytes.

        :raises Disconnected: the client has been disconnected
        """

    def attach(self, export: NbdExport) -> None:
        """Register the client as a user of an export."""


@dataclass(slots=True)
class Negotiated:
    """The result of a handshake."""

    export: NbdExport
    mode: Mode
    contexts: list[tuple[int, Context]] = field(default_factory=list)


class _Malformed(Exception):
    """The data of an option is malformed; the text goes to the client."""


class Negotiation:
    """One handshake.

    :param exports: returns the exports that there are
    """

    def __init__(self, channel: Channel, exports: Callable[[], Iterable[NbdExport]]) -> None:
        self._channel = channel
        self._exports = exports
        self._no_zeroes = False
        self._mode = Mode.SIMPLE
        self._context_export: NbdExport | None = None
        self._contexts: list[tuple[int, Context]] = []

    async def run(self) -> Negotiated:
        """Agree with the client on an export.

        :raises Disconnected: it has left, or broke the protocol
        """
        await self._channel.write(MAGIC + OPTION_MAGIC + struct.pack(">H", 3))
        (flags,) = struct.unpack(">I", await self._channel.read(4))
        if flags & ~(FIXED_NEWSTYLE | NO_ZEROES) or not flags & FIXED_NEWSTYLE:
            raise Disconnected
        self._no_zeroes = bool(flags & NO_ZEROES)
        while True:
            magic, option, length = OPTION_HEADER.unpack(
                await self._channel.read(OPTION_HEADER.size)
            )
            if magic != OPTION_MAGIC or length > MAX_BUFFER:
                raise Disconnected
            data = await self._channel.read(length)
            try:
                export = await self._option(option, data)
            except _Malformed as error:
                await self._reply(option, OptionReply.ERR_INVALID, str(error).encode())
                continue
            if export is not None:
                return Negotiated(export, self._mode, self._contexts_of(export))

    async def _option(self, option: int, data: bytes) -> NbdExport | None:
        """Answer an option; returns the export with which the handshake ends."""
        if option == Option.EXPORT_NAME:
            return await self._export_name(data)
        if option in (Option.INFO, Option.GO):
            return await self._info(option, data)
        if option == Option.LIST:
            await self._list(data)
        elif option == Option.ABORT:
            await self._reply(option, OptionReply.ACK)
            raise Disconnected
        elif option in (Option.STRUCTURED_REPLY, Option.EXTENDED_HEADERS):
            if data:
                raise _Malformed(f"option '{_name(option)}' has unexpected length")
            await self._choose_mode(option)
        elif option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
            await self._meta_context(option, data)
        else:
            await self._reply(option, *_refusal(option))
        return None

    async def _choose_mode(self, option: int) -> None:
        wanted = Mode.EXTENDED if option == Option.EXTENDED_HEADERS else Mode.STRUCTURED
        if self._mode is Mode.EXTENDED and wanted is Mode.STRUCTURED:
            text = b"extended headers already negotiated"
            await self._reply(option, OptionReply.ERR_EXT_HEADER_REQD, text)
        elif self._mode is wanted:
            raise _Malformed(f"{_name(option)} already negotiated")
        else:
            self._mode = wanted
            await self._reply(option, OptionReply.ACK)

    async def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        header = OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, kind, len(data))
        await self._channel.write(header + data)

    def _find(self, name: bytes) -> NbdExport | None:
        wanted = name.decode("utf-8", "surrogateescape")
        return next((export for export in self._exports() if export.name == wanted), None)

    def _flags(self, export: NbdExport, option: int) -> int:
        flags = export.flags
        if self._mode >= Mode.STRUCTURED:
            flags |= ExportFlag.SEND_DF
        asking = option == Option.INFO
        if self._mode is Mode.EXTENDED and (asking or self._contexts_of(export)):
            flags |= ExportFlag.BLOCK_STAT_PAYLOAD
        return flags

    def _contexts_of(self, export: NbdExport) -> list[tuple[int, Context]]:
        return self._contexts if self._context_export is export else []

    async def _export_name(self, data: bytes) -> NbdExport:
        export = self._find(data)
        if len(data) > MAX_STRING or export is None or self._mode is Mode.EXTENDED:
            raise Disconnected
        self._channel.attach(export)
        answer = struct.pack(">QH", export.size, self._flags(export, Option.EXPORT_NAME))
        await self._channel.write(answer + (b"" if self._no_zeroes else bytes(124)))
        return export

    async def _list(self, data: bytes) -> None:
        if data:
            raise _Malformed("option 'list' has unexpected length")
        for export in self._exports():
            name = export.name.encode("utf-8", "surrogateescape")
            description = (export.description or "").encode()
            text = struct.pack(">I", len(name)) + name + description
            await self._reply(Option.LIST, OptionReply.SERVER, text)
        await self._reply(Option.LIST, OptionReply.ACK)

    async def _info(self, option: int, data: bytes) -> NbdExport | None:
        name, rest = _string(option, data)
        if len(rest) < 2:
            raise _inconsistent(option)
        if len(rest) != 2 + 2 * struct.unpack(">H", rest[:2])[0]:
            raise _Malformed(f"option '{_name(option)}' has unexpected length")
        wanted = [kind for (kind,) in struct.iter_unpack(">H", rest[2:])]
        export = self._find(name)
        if export is None:
            await self._not_present(option, name)
            return None
        if Info.NAME in wanted:
            await self._tell(option, Info.NAME, name)
        if Info.DESCRIPTION in wanted and export.description:
            await self._tell(option, Info.DESCRIPTION, export.description.encode())
        limits = export.node.limits or BlockLimits()
        alignment = limits.request_alignment
        smallest = alignment if option == Option.INFO or Info.BLOCK_SIZE in wanted else 1
        largest = min(MAX_BUFFER, limits.max_transfer or MAX_BUFFER)
        sizes = struct.pack(">III", smallest, max(4096, smallest), largest)
        await self._tell(option, Info.BLOCK_SIZE, sizes)
        await self._tell(
            option, Info.EXPORT, struct.pack(">QH", export.size, self._flags(export, option))
        )
        if option == Option.INFO and Info.BLOCK_SIZE not in wanted and alignment > 1:
            text = b"request NBD_INFO_BLOCK_SIZE to use this export"
            await self._reply(option, OptionReply.ERR_BLOCK_SIZE_REQD, text)
            return None
        if option == Option.GO:
            self._channel.attach(export)
        await self._reply(option, OptionReply.ACK)
        return export if option == Option.GO else None

    async def _not_present(self, option: int, name: bytes) -> None:
        shown = name if len(name) < _SHOWN_NAME else name[:_SHOWN_NAME] + b"..."
        text = b"export '" + shown + b"' not present"
        await self._reply(option, OptionReply.ERR_UNKNOWN, text)

    async def _tell(self, option: int, kind: int, data: bytes) -> None:
        await self._reply(option, OptionReply.INFO, struct.pack(">H", kind) + data)

    async def _meta_context(self, option: int, data: bytes) -> None:
        if self._mode is Mode.SIMPLE:
            raise _Malformed(
                f"request option '{_name(option)}' when structured reply is not negotiated"
            )
        listing = option == Option.LIST_META_CONTEXT
        name, rest = _string(option, data)
        if len(rest) < 4:
            raise _inconsistent(option)
        (count,) = struct.unpack(">I", rest[:4])
        rest = rest[4:]
        queries = []
        for _ in range(count):
            text, rest = _string(option, rest)
            queries.append(text.decode("utf-8", "replace"))
        if rest:
            raise _Malformed(f"option '{_name(option)}' has unexpected length")
        export = self._find(name)
        if export is None:
            await self._not_present(option, name)
            return
        chosen: dict[int, Context] = {}
        if listing and not queries:
            chosen = dict(export.contexts())
        for query in queries:
            chosen |= dict(export.matching(query, listing=listing))
        for number, context in sorted(chosen.items()):
            shown_number = 0 if listing else number
            text = struct.pack(">I", shown_number) + context.name.encode()
            await self._reply(option, OptionReply.META_CONTEXT, text)
        await self._reply(option, OptionReply.ACK)
        if not listing:
            self._context_export = export
            self._contexts = sorted(chosen.items())


def _name(option: int) -> str:
    return Option(option).name.lower().replace("_", " ")


def _refusal(option: int) -> tuple[OptionReply, bytes]:
    if option == Option.STARTTLS:
        return OptionReply.ERR_POLICY, b"TLS not configured"
    return OptionReply.ERR_UNSUP, f"Unsupported option {option} (<unknown>)".encode()


def _inconsistent(option: int) -> _Malformed:
    return _Malformed(f"Inconsistent lengths in option {_name(option)}")


def _string(option: int, data: bytes) -> tuple[bytes, bytes]:
    """Split off a string that is preceded by its length; returns it and the rest."""
    if len(data) < 4:
        raise _inconsistent(option)
    (length,) = struct.unpack(">I", data[:4])
    if length > MAX_STRING:
        raise _Malformed(f"Invalid name length: {length}")
    if 4 + length > len(data):
        raise _inconsistent(option)
    return data[4 : 4 + length], data[4 + length :]

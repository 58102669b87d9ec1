"""The handshake of an NBD connection: fixed newstyle (``nbd_negotiate``)."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from qmpd.block.drivers.protocols.nbd.protocol import (
    FIXED_NEWSTYLE,
    MAGIC,
    MAX_BUFFER,
    MAX_STRING,
    NO_ZEROES,
    OPTION_MAGIC,
    UNKNOWN,
    ExportFlag,
    Info,
    Mode,
    Option,
    OptionReply,
    option_name,
)
from qmpd.block.model.limits import BlockLimits
from qmpd.export.nbd.dialect import USUAL, Dialect
from qmpd.export.nbd.export import Context, NbdExport
from qmpd.export.nbd.options import (
    Broken,
    Channel,
    OptionStream,
    Refused,
    invalid,
    not_present,
)
from qmpd.loop.stream import Disconnected


@dataclass(slots=True)
class Negotiated:
    """The result of a handshake.

    `channel` is what the requests come by.
    """

    channel: Channel
    export: NbdExport
    mode: Mode
    contexts: list[tuple[int, Context]] = field(default_factory=list)
    dialect: Dialect = USUAL


class Negotiation:
    """One handshake.

    :param exports: returns the exports that there are
    :param encrypt: goes over to TLS, and returns the channel inside it; None where there is none
    :param dialect: what may be agreed on
    """

    def __init__(
        self,
        channel: Channel,
        exports: Callable[[], Iterable[NbdExport]],
        encrypt: Callable[[], Awaitable[Channel]] | None = None,
        dialect: Dialect = USUAL,
    ) -> None:
        self._dialect = dialect
        self._channel = channel
        self._exports = exports
        self._encrypt = encrypt
        self._is_secure = False
        self._options = OptionStream(channel)
        self._no_zeroes = False
        self._is_fixed = False
        self._mode = Mode.SIMPLE
        self._context_export: NbdExport | None = None
        self._contexts: list[tuple[int, Context]] = []

    async def run(self) -> Negotiated:
        """Agree with the client on an export.

        :raises Disconnected: it has left, or broke the protocol
        """
        await self._channel.write(MAGIC + OPTION_MAGIC + struct.pack(">H", 3))
        (flags,) = struct.unpack(">I", await self._channel.read(4))
        self._is_fixed = bool(flags & FIXED_NEWSTYLE)
        self._no_zeroes = bool(flags & NO_ZEROES)
        unknown = flags & ~(FIXED_NEWSTYLE | NO_ZEROES)
        if unknown:
            raise Broken(f"Unknown client flags 0x{unknown:x} received")
        while True:
            option = await self._header()
            try:
                export = await self._option(option)
            except Refused as refused:
                await self._options.drop()
                await self._options.reply(refused.kind, refused.text)
                continue
            if export is not None:
                return Negotiated(
                    self._channel, export, self._mode, self._contexts_of(export), self._dialect
                )

    async def _header(self) -> int:
        """Read the header of an option; returns which it is."""
        options = self._options
        if await options.rest(8, "opts magic") != OPTION_MAGIC:
            raise Broken("Bad magic received")
        (option,) = struct.unpack(">I", await options.rest(4, "option"))
        (length,) = struct.unpack(">I", await options.rest(4, "option length"))
        if length > MAX_BUFFER:
            raise Broken(f"len ({length}) is larger than max len ({MAX_BUFFER})")
        options.begin(option, length)
        return int(option)

    async def _option(self, option: int) -> NbdExport | None:
        """Answer an option; returns the export with which the handshake ends."""
        if self._encrypt is not None and not self._is_secure:
            await self._before_tls(option, self._encrypt)
            return None
        if option == Option.EXPORT_NAME:
            return await self._export_name()
        if not self._is_fixed:
            raise Broken(f"Unsupported option {option} ({self._name(option)})")
        if option in (Option.INFO, Option.GO):
            return await self._info(option)
        if option == Option.LIST:
            await self._list()
        elif option == Option.ABORT:
            await self._options.reply(OptionReply.ACK)
            raise Disconnected
        elif option == Option.STARTTLS:
            self._options.check_ended()
            if self._is_secure:
                raise invalid("TLS already enabled")
            raise Refused(OptionReply.ERR_POLICY, b"TLS not configured")
        elif option == Option.STRUCTURED_REPLY or (
            option == Option.EXTENDED_HEADERS and self._dialect.extended_headers
        ):
            self._options.check_ended()
            await self._choose_mode(option)
        elif option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
            await self._meta_context(option)
        else:
            text = f"Unsupported option {option} ({self._name(option)})"
            raise Refused(OptionReply.ERR_UNSUP, text.encode())
        return None

    def _name(self, option: int) -> str:
        if option == Option.EXTENDED_HEADERS and not self._dialect.extended_headers:
            return UNKNOWN
        return option_name(option)

    async def _before_tls(self, option: int, encrypt: Callable[[], Awaitable[Channel]]) -> None:
        """Answer an option of a client that has to go over to TLS first."""
        if not self._is_fixed:
            raise Broken(f"Unsupported option 0x{option:x}")
        if option == Option.EXPORT_NAME:
            raise Broken(f"Option 0x{option:x} not permitted before TLS")
        options = self._options
        if option != Option.STARTTLS:
            await options.drop()
            text = f"Option 0x{option:x} not permitted before TLS"
            await options.reply(OptionReply.ERR_TLS_REQD, text.encode())
            if option == Option.ABORT:
                raise Disconnected
            return
        if options.left:
            await options.drop()
            text = f"option '{self._name(option)}' has unexpected length"
            await options.reply(OptionReply.ERR_INVALID, text.encode())
            raise Broken(text)
        await options.reply(OptionReply.ACK)
        self._channel = await encrypt()
        self._options = OptionStream(self._channel)
        self._is_secure = True

    async def _choose_mode(self, option: int) -> None:
        wanted = Mode.EXTENDED if option == Option.EXTENDED_HEADERS else Mode.STRUCTURED
        if self._mode is Mode.EXTENDED and wanted is Mode.STRUCTURED:
            text = b"extended headers already negotiated"
            raise Refused(OptionReply.ERR_EXT_HEADER_REQD, text)
        if self._mode is wanted:
            raise invalid(f"{self._name(option)} already negotiated")
        self._mode = wanted
        await self._options.reply(OptionReply.ACK)

    def _find(self, name: bytes) -> NbdExport | None:
        wanted = name.decode("utf-8", "surrogateescape")
        return next((export for export in self._exports() if export.name == wanted), None)

    def _flags(self, export: NbdExport, option: int) -> int:
        flags = export.flags
        if self._mode >= Mode.STRUCTURED:
            flags |= ExportFlag.SEND_DF
        if self._mode is Mode.EXTENDED and (self._contexts or option == Option.INFO):
            flags |= ExportFlag.BLOCK_STAT_PAYLOAD
        return flags

    def _contexts_of(self, export: NbdExport) -> list[tuple[int, Context]]:
        return self._contexts if self._context_export is export else []

    def _enter(self, export: NbdExport) -> None:
        """Forget the contexts of any other export (``nbd_check_meta_export``)."""
        self._contexts = self._contexts_of(export)

    async def _export_name(self) -> NbdExport:
        if self._mode is Mode.EXTENDED:
            raise Broken("Extended headers already negotiated")
        length = self._options.left
        if length > MAX_STRING:
            raise Broken("Bad length received")
        name = await self._options.rest(length, "export name")
        export = self._find(name.partition(b"\0")[0])
        if export is None:
            raise Broken("export not found")
        self._enter(export)
        self._channel.attach(export)
        answer = struct.pack(">QH", export.size, self._flags(export, Option.EXPORT_NAME))
        await self._channel.write(answer + (b"" if self._no_zeroes else bytes(124)))
        return export

    async def _list(self) -> None:
        self._options.check_ended()
        for export in self._exports():
            name = export.name.encode("utf-8", "surrogateescape")
            description = (export.description or "").encode()
            text = struct.pack(">I", len(name)) + name + description
            await self._options.reply(OptionReply.SERVER, text)
        await self._options.reply(OptionReply.ACK)

    async def _info(self, option: int) -> NbdExport | None:
        options = self._options
        name = await options.string()
        (count,) = struct.unpack(">H", await options.read(2))
        wanted = {struct.unpack(">H", await options.read(2))[0] for _ in range(count)}
        options.check_ended()
        export = self._find(name)
        if export is None:
            raise not_present(name)
        if option == Option.GO:
            self._enter(export)
        if Info.NAME in wanted:
            await self._tell(Info.NAME, name)
        if export.description is not None:
            await self._tell(Info.DESCRIPTION, export.description.encode())
        limits = export.node.limits or BlockLimits()
        alignment = limits.request_alignment
        smallest = alignment if option == Option.INFO or Info.BLOCK_SIZE in wanted else 1
        largest = min(MAX_BUFFER, limits.max_transfer or MAX_BUFFER)
        sizes = struct.pack(">III", smallest, max(4096, smallest), largest)
        await self._tell(Info.BLOCK_SIZE, sizes)
        await self._tell(Info.EXPORT, struct.pack(">QH", export.size, self._flags(export, option)))
        if option == Option.INFO and Info.BLOCK_SIZE not in wanted and alignment > 1:
            text = b"request NBD_INFO_BLOCK_SIZE to use this export"
            raise Refused(OptionReply.ERR_BLOCK_SIZE_REQD, text)
        if option == Option.GO:
            self._channel.attach(export)
        await options.reply(OptionReply.ACK)
        return export if option == Option.GO else None

    async def _tell(self, kind: int, data: bytes) -> None:
        await self._options.reply(OptionReply.INFO, struct.pack(">H", kind) + data)

    async def _meta_context(self, option: int) -> None:
        """Answer an option about metadata contexts (``nbd_negotiate_meta_queries``)."""
        listing = option == Option.LIST_META_CONTEXT
        if self._mode is Mode.SIMPLE and not (listing and self._dialect.lists_early):
            raise invalid(
                f"request option '{self._name(option)}' when structured reply is not negotiated"
            )
        if not listing:
            self._context_export, self._contexts = None, []
        options = self._options
        name = await options.string()
        export = self._find(name)
        if export is None:
            raise not_present(name)
        if not listing:
            self._context_export = export
        count = await options.number()
        chosen: dict[int, Context] = {}
        if listing and not count:
            chosen = dict(export.contexts())
        for _ in range(count):
            query = await self._query()
            if query is not None:
                chosen |= dict(export.matching(query, listing=listing))
        options.check_ended()
        found = sorted(chosen.items())
        for number, context in found:
            text = struct.pack(">I", 0 if listing else number) + context.name.encode()
            await options.reply(OptionReply.META_CONTEXT, text)
        await options.reply(OptionReply.ACK)
        if not listing:
            self._contexts = found

    async def _query(self) -> str | None:
        """Read one query for contexts; None for one that is longer than any context's name."""
        length = await self._options.number()
        if length > MAX_STRING:
            await self._options.skip(length)
            return None
        query = await self._options.read(length, text=True)
        return query.decode("utf-8", "surrogateescape")

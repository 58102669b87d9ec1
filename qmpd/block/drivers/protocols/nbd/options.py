"""Options of the handshake, as a client sends them, and the replies to them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from qmpd.block.drivers.protocols.nbd.protocol import (
    ENDED,
    MAX_BUFFER,
    OPTION_HEADER,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    Option,
    OptionReply,
    option_name,
    reply_name,
)
from qmpd.errors import GenericError
from qmpd.loop.stream import ByteStream, Disconnected


class Stream(ByteStream, Protocol):
    """A connection to a server."""

    def send(self, data: bytes) -> None:
        """Send bytes, without waiting for room.

        :raises Disconnected: the connection has been closed
        """


class Reply(NamedTuple):
    """The header of a reply to an option; `length` bytes follow."""

    kind: int
    length: int


class Options:
    """Sends options over one connection, and reads what is said to them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self, length: int, what: str | None) -> bytes:
        """Read `length` bytes.

        :param what: what they are, for the error
        :raises GenericError: the server has closed the connection
        """
        try:
            return await self._stream.read(length)
        except Disconnected as error:
            text = str(error) or ENDED
            raise GenericError(text if what is None else f"Failed to read {what}: {text}") from None

    async def skip(self, length: int, what: str) -> None:
        """Drop `length` bytes.

        :param what: what they are, for the error
        :raises GenericError: the server has closed the connection
        """
        try:
            await self._stream.skip(length)
        except Disconnected:
            raise GenericError(f"Failed to read {what}: {ENDED}") from None

    async def write(self, data: bytes, what: str) -> None:
        """Send `data`.

        :param what: what it is, for the error
        :raises GenericError: the connection has been closed
        """
        try:
            await self._stream.write(data)
        except Disconnected:
            raise GenericError(
                f"Failed to send {what}: Unable to write to socket: Broken pipe"
            ) from None

    async def send(self, option: int, data: bytes = b"") -> None:
        """Send an option.

        :raises GenericError: the connection has been closed
        """
        header = OPTION_HEADER.pack(OPTION_MAGIC, option, len(data))
        await self.write(header + data, "option request header")

    async def abort(self) -> None:
        """Say that nothing more will come, which a server may hear or not."""
        try:
            await self._stream.write(OPTION_HEADER.pack(OPTION_MAGIC, Option.ABORT, 0))
        except Disconnected:
            return

    async def reply(self, option: int) -> Reply:
        """Read the header of a reply to `option`.

        :raises GenericError: it is malformed
        """
        data = await self.read(OPTION_REPLY.size, "option reply")
        magic, about, kind, length = OPTION_REPLY.unpack(data)
        if magic != OPTION_REPLY_MAGIC:
            raise GenericError("Unexpected option reply magic")
        if about != option:
            raise GenericError(
                f"Unexpected option type {about} ({option_name(about)}),"
                f" expected {option} ({option_name(option)})"
            )
        return Reply(kind, length)

    async def accepted(self, option: int, reply: Reply, *, strict: bool) -> bool:
        """Whether a reply is no error.

        :param strict: only that the server does not know the option is put up with
        :returns: False where the server will not, and one can do without
        :raises GenericError: one cannot
        """
        if not reply.kind & 0x80000000:
            return True
        said = await self._message(reply) if reply.length else None
        if reply.kind == OptionReply.ERR_UNSUP or not strict:
            return False
        error = refused(option, reply.kind)
        if said is not None:
            error = error.hinted(f"server reported: {said}")
        raise error

    async def _message(self, reply: Reply) -> str:
        kind, length = reply
        if length > MAX_BUFFER:
            raise GenericError(f"server error {kind} ({reply_name(kind)}) message is too long")
        try:
            data = await self._stream.read(length)
        except Disconnected:
            raise GenericError(
                f"Failed to read option error {kind} ({reply_name(kind)}) message: {ENDED}"
            ) from None
        return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")

    async def simple(self, option: int, *, strict: bool) -> bool:
        """Send an option without data, to which a server says yes or no.

        :param strict: see `accepted`
        :raises GenericError: the answer cannot be lived with
        """
        await self.send(option)
        reply = await self.reply(option)
        if not await self.accepted(option, reply, strict=strict):
            return False
        name = option_name(option)
        if reply.kind != OptionReply.ACK:
            raise GenericError(
                f"Server answered option {option} ({name}) with unexpected"
                f" reply {reply.kind} ({reply_name(reply.kind)})"
            )
        if reply.length:
            raise GenericError(
                f"Option {option} ('{name}') response length is {reply.length} (it should be zero)"
            )
        return True


_REFUSALS: Final[Mapping[int, str]] = MappingProxyType(
    {
        OptionReply.ERR_POLICY: "Denied by server for option {}",
        OptionReply.ERR_INVALID: "Invalid parameters for option {}",
        OptionReply.ERR_PLATFORM: "Server lacks support for option {}",
        OptionReply.ERR_TLS_REQD: "TLS negotiation required before option {}",
        OptionReply.ERR_UNKNOWN: "Requested export not available",
        OptionReply.ERR_SHUTDOWN: "Server shutting down before option {}",
        OptionReply.ERR_BLOCK_SIZE_REQD: "Server requires INFO_BLOCK_SIZE for option {}",
    }
)


def refused(option: int, kind: int) -> GenericError:
    """Why a server will not do an option."""
    text = _REFUSALS.get(kind, "Unknown error code when asking for option {}")
    error = GenericError(text.format(f"{option} ({option_name(option)})"))
    if kind == OptionReply.ERR_TLS_REQD:
        return error.hinted("Did you forget a valid tls-creds?")
    return error

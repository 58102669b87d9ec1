"""The options of a client's handshake: read piece by piece, and answered."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from qmpd.block.drivers.protocols.nbd.protocol import (
    ENDED,
    MAX_STRING,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    OptionReply,
    option_name,
)
from qmpd.loop.stream import ByteStream, Disconnected

if TYPE_CHECKING:
    from qmpd.export.nbd.export import NbdExport

_SHOWN_NAME: Final = 80
"""Bytes of a name that messages show (`nbd_sanitize_name`)."""


class Channel(ByteStream, Protocol):
    """A connection."""

    def attach(self, export: NbdExport) -> None:
        """Register the client as a user of an export."""

    @property
    def partial(self) -> bool:
        """Whether bytes have arrived that nobody has read."""


class Broken(Disconnected):
    """The client has broken the protocol, or left in the middle of it; the text says how."""


class Refused(Exception):
    """An option is refused: what is left of it is dropped, and the client is told why.

    :param kind: OptionReply
    """

    def __init__(self, kind: int, text: bytes) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def invalid(text: str) -> Refused:
    """An option whose data is malformed (``nbd_opt_invalid``)."""
    return Refused(OptionReply.ERR_INVALID, text.encode())


class OptionStream:
    """The options of one client."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._option = 0
        self._left = 0

    def begin(self, option: int, length: int) -> None:
        """An option of `length` bytes follows."""
        self._option, self._left = option, length

    @property
    def left(self) -> int:
        """How many bytes of the option have not been read."""
        return self._left

    async def read(self, length: int, *, text: bool = False) -> bytes:
        """Read a piece of the option (``nbd_opt_read``).

        :param text: whether no byte may be zero
        :raises Refused: the option has not as much, or is no text
        """
        name = option_name(self._option)
        if length > self._left:
            raise invalid(f"Inconsistent lengths in option {name}")
        self._left -= length
        data = await self.rest(length)
        if text and b"\0" in data:
            raise invalid(f"Unexpected embedded NUL in option {name}")
        return data

    async def rest(self, length: int, what: str | None = None) -> bytes:
        """Read bytes, whosever they are.

        :param what: what they are, for the error
        :raises Broken: the client has left
        """
        try:
            return await self._channel.read(length)
        except Disconnected as error:
            text = str(error) or ENDED
            raise Broken(text if what is None else f"Failed to read {what}: {text}") from None

    async def number(self) -> int:
        """Read a number of four bytes.

        :raises Refused: the option has no such
        """
        (number,) = struct.unpack(">I", await self.read(4))
        return int(number)

    async def string(self) -> bytes:
        """Read text that its length precedes (``nbd_opt_read_name``).

        :raises Refused: it is no such
        """
        length = await self.number()
        if length > MAX_STRING:
            raise invalid(f"Invalid name length: {length}")
        return await self.read(length, text=True)

    async def skip(self, length: int) -> None:
        """Drop a piece of the option.

        :raises Refused: the option has not as much
        """
        if length > self._left:
            raise invalid(f"Inconsistent lengths in option {option_name(self._option)}")
        self._left -= length
        await self._drop(length)

    async def drop(self) -> None:
        """Drop what is left of the option.

        :raises Broken: the client has left
        """
        left, self._left = self._left, 0
        await self._drop(left)

    async def _drop(self, length: int) -> None:
        try:
            await self._channel.skip(length)
        except Disconnected:
            raise Broken(ENDED) from None

    def check_ended(self) -> None:
        """Check that nothing of the option is left.

        :raises Refused: there is
        """
        if self._left:
            raise invalid(f"option '{option_name(self._option)}' has unexpected length")

    async def reply(self, kind: int, data: bytes = b"") -> None:
        """Reply to the option."""
        header = OPTION_REPLY.pack(OPTION_REPLY_MAGIC, self._option, kind, len(data))
        await self._channel.write(header + data)


def not_present(name: bytes) -> Refused:
    """There is no export called `name`."""
    shown = name if len(name) < _SHOWN_NAME else name[:_SHOWN_NAME] + b"..."
    return Refused(OptionReply.ERR_UNKNOWN, b"export '" + shown + b"' not present")

"""The connection to the target, as the migration to it uses it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from qmpd.loop.stream import Channel, Disconnected
from qmpd.machine.migration.stream import Answer

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.machine.host import StreamPeer

BROKEN: Final = "Channel error: Input/output error"


class Failed(Exception):
    """The migration fails, or has been cancelled.

    :param reason: why, if that is to be told
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "")
        self.reason = reason


class Link:
    """Where a stream is sent, and what comes back.

    :param peer: the far end
    :param clock: what runs who waits
    """

    def __init__(self, peer: StreamPeer, clock: Clock) -> None:
        self._peer = peer
        self.channel = Channel(peer, clock)
        self.transferred = 0
        """Bytes that have been sent."""
        self.cancelled = False
        """Whether it has been cut on purpose, so that nobody is to be told."""

    async def send(self, data: bytes) -> None:
        """Send, and see whether all has been sent.

        :raises Failed: the connection is broken
        """
        self.transferred += len(data)
        try:
            await self.channel.write(data)
        except Disconnected:
            raise Failed(BROKEN) from None
        if self._peer.failure is not None:
            raise Failed(None if self.cancelled else self._peer.failure)

    async def hear_end(self) -> None:
        """Wait until the target says how it went.

        :raises Failed: it could not load the stream, or has gone
        """
        value = 0
        try:
            kind = Answer.PONG
            while kind != Answer.SHUT:
                kind, length = struct.unpack(">HH", await self.channel.read(4))
                value = int.from_bytes(await self.channel.read(length), "big")
        except Disconnected:
            raise Failed(None if self.cancelled else BROKEN) from None
        if value:
            raise Failed(f"Sibling indicated error {value}")

    def fail(self) -> None:
        """Let nothing pass any more."""
        self._peer.fail(BROKEN)

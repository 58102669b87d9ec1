"""One client of the NBD server, without its socket: bytes in, bytes out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from qmpd.export.nbd.negotiation import Disconnected, Negotiation
from qmpd.export.nbd.session import NbdSession
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.export.host import Peer
    from qmpd.export.nbd.export import NbdExport
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Handle, Task

LOG = logging.getLogger("qmpd.nbd")

READ_AHEAD: Final = 1 << 18
"""Bytes read ahead from a client while a request of it is running."""

FAIR: Final = 64
"""Reads served from buffered input before other tasks get their turn."""


class NbdConnection:
    """A client, from the greeting to its end; the `Channel` of the protocol.

    One task of the machine's clock reads requests and answers them, one after the other.

    :param peer: the client
    :param exports: returns the exports that clients can choose
    :param left: called when the client is gone and its requests have ended
    """

    def __init__(
        self,
        peer: Peer,
        clock: Clock,
        exports: Callable[[], Iterable[NbdExport]],
        left: Callable[[NbdConnection], None],
    ) -> None:
        self._peer = peer
        self._clock = clock
        self._exports = exports
        self._left = left
        self._export: NbdExport | None = None
        self._input = b""
        self._offset = 0
        self._more: list[bytes] = []
        self._have = 0
        self._arrived: Waiter | None = None
        self._room: Waiter | None = None
        self._paused = False
        self._at_hand = 0
        self._handshake_limit: Handle | None = None
        self._at_end = False
        self._is_cut = False
        self._gone = Waiter()
        self.wanted = 0

    def start(self, handshake_seconds: int) -> None:
        """Greet the client.

        :param handshake_seconds: disconnect it if it has not chosen an export by then; 0: never
        """
        if handshake_seconds:
            limit = handshake_seconds * NANOSECONDS
            self._handshake_limit = self._clock.call_later(limit, self._cut)
        self._clock.enter(self._serve(), "nbd client", self._done)

    # What the peer does (`Connection`)

    def feed(self, data: bytes) -> None:
        """Take bytes of requests."""
        self._more.append(data)
        self._have += len(data)
        if self._arrived is None:
            if not self._paused and self._have >= READ_AHEAD:
                self._paused = True
                self._peer.pause_input()
        else:
            self.wanted -= len(data)
            if self.wanted <= 0:
                self._arrived.wake()

    def drained(self) -> None:
        """Go on writing."""
        if self._room is not None:
            self._room.wake()

    def closed(self) -> None:
        """The peer has gone: answer the requests that have arrived, then end."""
        self._at_end = True
        for waiter in (self._arrived, self._room):
            if waiter is not None:
                waiter.wake()

    # What the protocol needs (`Channel`)

    async def read(self, length: int) -> bytes:
        """Wait for `length` bytes.

        :raises Disconnected: the input ends before
        """
        if self._have < length:
            await self._fill(length)
        elif self._at_hand == FAIR:
            self._at_hand = 0
            await self._clock.reschedule()
        self._at_hand += 1
        return self._take(length)

    def _take(self, length: int) -> bytes:
        """Take `length` bytes out of the buffer, which has them, copying as little as possible."""
        self._have -= length
        if self._offset + length > len(self._input):
            rest = self._input[self._offset :]
            parts = [rest, *self._more] if rest else self._more
            self._input = parts[0] if len(parts) == 1 else b"".join(parts)
            self._more = []
            self._offset = 0
        if not self._offset and length == len(self._input):
            data, self._input = self._input, b""
        else:
            data = self._input[self._offset : self._offset + length]
            self._offset += length
        return data

    async def _fill(self, length: int) -> None:
        self._at_hand = 0
        while (missing := length - self._have) > 0:
            if self._at_end:
                raise Disconnected
            if self._paused:
                self._paused = False
                self._peer.resume_input()
            self.wanted = missing
            self._arrived = Waiter(direct=True)
            await self._arrived
            self._arrived = None
        self.wanted = 0

    async def write(self, data: bytes) -> None:
        """Send `data`, and wait until it has been sent.

        :raises Disconnected: the client has been disconnected
        """
        if self._is_cut:
            raise Disconnected
        self._peer.write(data)
        while self._peer.congested:
            self._room = Waiter(direct=True)
            await self._room
            self._room = None

    def attach(self, export: NbdExport) -> None:
        """Count as a client of `export` from now on."""
        self._export = export
        export.clients.append(self)

    # Its life

    async def _serve(self) -> None:
        try:
            agreed = await Negotiation(self, self._exports).run()
            self._forget_limit()
            await NbdSession(self, agreed).run()
        except Disconnected:
            pass
        except Exception:
            LOG.exception("an NBD client could not be served")

    def _forget_limit(self) -> None:
        if self._handshake_limit is not None:
            self._handshake_limit.cancel()
            self._handshake_limit = None

    def _cut(self) -> None:
        self._is_cut = True
        self._drop_input()
        self._peer.close()
        self.closed()

    def _drop_input(self) -> None:
        self._have = self._offset = 0
        self._input = b""
        self._more = []

    def _done(self, _: Task) -> None:
        # peer and connection know each other: what a client has left behind must not wait for
        # the collector of cycles
        self._drop_input()
        self._forget_limit()
        if self._export is not None:
            self._export.clients.remove(self)
        self._peer.close()
        self._left(self)
        self._gone.wake()

    async def close(self) -> None:
        """Disconnect the client, and wait for its request to end."""
        self._cut()
        await self._gone

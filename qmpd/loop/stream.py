"""Streams of bytes without sockets: a peer at the far end, a connection at the near one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.errors import QmpError
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Handle

READ_AHEAD: Final = 1 << 18
"""Bytes kept of what a peer has sent while nobody reads."""

FAIR: Final = 64
"""Reads served from buffered input before other tasks get their turn."""


class Peer(Protocol):
    """The far end of a stream of bytes: a connected socket, or a program in this process."""

    @property
    def congested(self) -> bool:
        """Whether output of the last `write` is still buffered; `Connection.drained` follows."""

    def write(self, data: bytes) -> None:
        """Send `data`; what cannot be sent at once is buffered."""

    def pause_input(self) -> None:
        """Stop feeding the connection until `resume_input`; a little more may still come."""

    def resume_input(self) -> None:
        """Feed the connection again."""

    def close(self) -> None:
        """Disconnect the peer; buffered output is lost."""


@runtime_checkable
class GatheringPeer(Peer, Protocol):
    """A peer that takes many pieces at once, and whole areas of files."""

    def write_parts(self, parts: Sequence[bytes | memoryview], size: int, *, lasting: bool) -> None:
        """Send pieces of `size` bytes in all, at once if possible.

        :param lasting: whether none of them changes after this has returned
        """

    def send_file(self, head: bytes, fd: int, offset: int, length: int) -> int:
        """Send `head` and then bytes of a file, without reading them; nothing is buffered.

        :returns: how many of all these bytes have left
        """


class Connection(Protocol):
    """The near end of a stream, which speaks some protocol with a `Peer`."""

    @property
    def wanted(self) -> int:
        """Bytes that the connection waits for now: a good size for the next read."""

    def feed(self, data: bytes) -> None:
        """Take bytes that the peer has sent."""

    def drained(self) -> None:
        """All output has been sent."""

    def closed(self) -> None:
        """The peer has gone."""


@runtime_checkable
class BufferedConnection(Connection, Protocol):
    """A connection that may have a place of its own for what the peer sends."""

    def buffer(self) -> memoryview | None:
        """Where the peer is to put bytes now, whose number it tells by `received`.

        None: they are to be given to `feed`, unless input has just been paused.
        """

    def received(self, count: int) -> None:
        """So many bytes have been put where `buffer` has said."""


Connect = Callable[[Peer], Connection]
"""Takes a new peer; returns the near end of the connection."""


class Dial(Protocol):
    """Connects to servers: what a machine asks of its process."""

    def __call__(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        """Begin to connect to `address`; `connect` or `failed` is called later, or at once.

        :param address: SocketAddress, plain JSON values
        :param connect: takes the server
        :param failed: told why there is no connection, in QEMU's words
        :returns: calls the attempt off; a server that has been connected stays
        :raises NotServed: this process does not connect to anything
        """


class Disconnected(Exception):
    """The connection is over: the peer left, or broke the protocol.

    The text, where there is one, says how.
    """


class ByteStream(Protocol):
    """What protocols of requests and replies need of a connection."""

    async def read(self, length: int) -> bytes:
        """Read exactly `length` bytes.

        :raises Disconnected: the input ends before
        """

    async def skip(self, length: int) -> None:
        """Read `length` bytes and drop them.

        :raises Disconnected: the input ends before
        """

    async def write(self, data: bytes) -> None:
        """Send bytes.

        :raises Disconnected: the connection has been closed
        """


class Channel:
    """A stream that a coroutine reads and writes; the near end of a connection.

    One coroutine at a time may read; any number may write, each `write` as a whole.
    """

    def __init__(self, peer: Peer, clock: Clock) -> None:
        self._peer = peer
        self._clock = clock
        self._input = b""
        self._offset = 0
        self._more: list[bytes] = []
        self._have = 0
        self._arrived: Waiter | None = None
        self._room: list[Waiter] = []
        self._paused = False
        self._at_hand = 0
        self._at_end = False
        self._is_cut = False
        self.wanted = 0

    # What the peer does (`Connection`)

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer."""
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
        room, self._room = self._room, []
        for waiter in room:
            waiter.wake()

    def closed(self) -> None:
        """The peer has gone: what has arrived can still be read."""
        self._at_end = True
        if self._arrived is not None:
            self._arrived.wake()
        self.drained()

    # What the protocol does

    @property
    def partial(self) -> bool:
        """Whether bytes have arrived that nobody has read."""
        return self._have > 0

    async def read(self, length: int) -> bytes:
        """Wait for `length` bytes.

        :raises Disconnected: the input ends before
        """
        if self._have < length:
            await self._fill(length)
        elif self._at_hand == FAIR:
            self._at_hand = 0
            await self._clock.reschedule()
            if self._have < length:  # it has been cut meanwhile
                await self._fill(length)
        self._at_hand += 1
        return self._take(length)

    async def read_some(self) -> bytes:
        """Wait for bytes, and take all that have arrived.

        :raises Disconnected: there are no more
        """
        return await self.read(max(1, self._have))

    async def skip(self, length: int) -> None:
        """Read `length` bytes and drop them, a few at a time.

        :raises Disconnected: the input ends before
        """
        while length:
            if not self._have:
                await self._fill(min(length, READ_AHEAD))
            piece = min(length, self._have)
            self._drop(piece)
            length -= piece

    def _drop(self, length: int) -> None:
        """Drop `length` bytes of the buffer, which has them; that needs no memory."""
        self._have -= length
        while length:
            there = len(self._input) - self._offset
            if length < there:
                self._offset += length
                return
            length -= there
            self._input = self._more.pop(0) if self._more else b""
            self._offset = 0

    def _take(self, length: int) -> bytes:
        """Take `length` bytes out of the buffer, which has them, copying as little as possible.

        Where there is no memory for that they stay there.
        """
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
        self._have -= length
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
            try:
                await self._arrived
            finally:
                self._arrived = None
        self.wanted = 0

    async def write(self, data: bytes) -> None:
        """Send `data`, and wait until it has been sent.

        :raises Disconnected: the peer has been disconnected
        """
        self.send(data)
        while self._peer.congested:
            room = Waiter(direct=True)
            self._room.append(room)
            await room

    def send(self, data: bytes) -> None:
        """Send `data`, without waiting for room.

        :raises Disconnected: the peer has been disconnected
        """
        if self._is_cut:
            raise Disconnected
        self._peer.write(data)

    def cut(self) -> None:
        """Disconnect the peer; nothing is read any more."""
        self._is_cut = True
        self.drop_input()
        self._peer.close()
        self.closed()

    def drop_input(self) -> None:
        """Forget what has arrived.

        Peer and connection know each other: what a client has left behind must not wait for the
        collector of cycles.
        """
        self._have = self._offset = 0
        self._input = b""
        self._more = []

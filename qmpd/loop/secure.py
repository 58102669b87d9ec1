"""A stream inside another one: what TLS does with bytes, without knowing how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qmpd.loop.stream import Disconnected

if TYPE_CHECKING:
    from qmpd.loop.stream import Channel


class Cipher(Protocol):
    """One end of a TLS session: bytes of the wire on one side, plain bytes on the other."""

    def handshake(self) -> bool:
        """Go on with the handshake, with what has been fed; returns whether it is done.

        :raises GenericError: it has failed, or who is at the other end must not be, in QEMU's words
        """

    def feed(self, data: bytes) -> None:
        """Take bytes of the wire; none: there are no more."""

    def outgoing(self) -> bytes:
        """Take what is to go out by the wire."""

    def read(self) -> bytes:
        """Take plain bytes, as many as there are.

        :raises Disconnected: there will be no more
        """

    def write(self, data: bytes) -> None:
        """Encrypt plain bytes: `outgoing` has them."""


class Credentials(Protocol):
    """What one end of TLS sessions shows, and wants to see (QEMU's QCryptoTLSCreds)."""

    def client(self, hostname: str | None) -> Cipher:
        """A session with a server.

        :param hostname: what its certificate has to be for
        :raises NotServed: Python has no such sessions
        """

    def server(self, authorization: str | None) -> Cipher:
        """A session with a client.

        :param authorization: id of the object that says who may come; None for everybody
        :raises NotServed: Python has no such sessions
        """


class SecureChannel:
    """A channel whose bytes are encrypted."""

    def __init__(self, below: Channel, cipher: Cipher) -> None:
        self._below = below
        self._cipher = cipher
        self._input = bytearray()
        self._ended = False

    async def shake_hands(self) -> None:
        """Begin the session.

        :raises GenericError: see `Cipher.handshake`
        :raises Disconnected: the connection has been cut
        """
        while True:
            # who fails says nothing of it, as GnuTLS does not
            done = self._cipher.handshake()
            out = self._cipher.outgoing()
            if out:
                await self._below.write(out)
            if done:
                return
            await self._feed()

    async def _feed(self) -> None:
        """Wait for bytes of the wire.

        :raises Disconnected: the session was told already that there are no more
        """
        if self._ended:
            raise Disconnected
        try:
            data = await self._below.read_some()
        except Disconnected:
            self._ended = True
            data = b""
        self._cipher.feed(data)

    @property
    def partial(self) -> bool:
        """Whether bytes have arrived that nobody has read."""
        return bool(self._input)

    async def read(self, length: int) -> bytes:
        """Wait for `length` bytes.

        :raises Disconnected: the input ends before
        """
        while len(self._input) < length:
            data = self._cipher.read()
            if data:
                self._input += data
            else:
                await self._feed()
        data = bytes(self._input[:length])
        del self._input[:length]
        return data

    async def skip(self, length: int) -> None:
        """Read `length` bytes and drop them.

        :raises Disconnected: the input ends before
        """
        while length:
            piece = min(length, 1 << 16)
            await self.read(piece)
            length -= piece

    async def write(self, data: bytes) -> None:
        """Send `data`, and wait until it has been sent.

        :raises Disconnected: the peer has been disconnected
        """
        self._cipher.write(data)
        await self._below.write(self._cipher.outgoing())

    def send(self, data: bytes) -> None:
        """Send `data`, without waiting for room.

        :raises Disconnected: the peer has been disconnected
        """
        self._cipher.write(data)
        self._below.send(self._cipher.outgoing())

"""The NBD server without its sockets: who is connected, and how many may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from qmpd.export.nbd.answering import Areas
from qmpd.export.nbd.at_once import AREA, WORKSPACE
from qmpd.export.nbd.connection import NbdConnection
from qmpd.export.nbd.dialect import USUAL, Dialect

if TYPE_CHECKING:
    from qmpd.export.host import Listener
    from qmpd.export.nbd.export import NbdExport
    from qmpd.loop.clock import Clock
    from qmpd.loop.secure import Cipher, Credentials
    from qmpd.loop.stream import Peer


class NbdServer:
    """A running server (``nbd_server`` in QEMU's blockdev-nbd.c).

    :param clock: runs the connections, and ends handshakes that take too long
    :param exports: returns its exports
    :param max_connections: clients at a time, 0 for any number; others wait to be accepted
    :param handshake_seconds: how long a client may take to choose an export, 0 for ever
    :param report: takes complaints about clients, for standard error
    :param dialect: what it offers
    """

    def __init__(
        self,
        clock: Clock,
        exports: Callable[[], Iterable[NbdExport]],
        *,
        max_connections: int,
        handshake_seconds: int,
        report: Callable[[str], None],
        dialect: Dialect = USUAL,
    ) -> None:
        self.dialect = dialect
        self.clock = clock
        self.exports = exports
        self.max_connections = max_connections
        self.handshake_seconds = handshake_seconds
        self._report = report
        self.credentials: Credentials | None = None
        """What clients have to go over to TLS by; None where they need not."""
        self.authorization: str | None = None
        """Id of the object that says who may come by TLS."""
        self.listener: Listener | None = None
        """Where clients arrive; None until it listens."""
        self._connections: set[NbdConnection] = set()
        self._areas = Areas(AREA)
        self._buffer: memoryview | None = None

    def connect(self, peer: Peer) -> NbdConnection:
        """Serve a new client; it is greeted before this returns."""
        connection = NbdConnection(
            peer,
            self.clock,
            self.exports,
            self._left,
            self._report,
            areas=self._areas,
            workspace=self._workspace,
            cipher=self._cipher(),
            dialect=self.dialect,
        )
        self._connections.add(connection)
        if self.max_connections and len(self._connections) >= self.max_connections:
            assert self.listener is not None
            self.listener.pause()
        connection.start(self.handshake_seconds)
        return connection

    def _workspace(self) -> memoryview:
        """One buffer for all connections: none keeps anything there while others run."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(WORKSPACE))
        return self._buffer

    def _cipher(self) -> Callable[[], Cipher] | None:
        """What makes the TLS session of a client."""
        if self.credentials is None:
            return None
        return partial(self.credentials.server, self.authorization)

    def _left(self, connection: NbdConnection) -> None:
        self._connections.discard(connection)
        if self.listener is not None:
            self.listener.resume()

    async def close(self, *, machine_ends: bool = False) -> None:
        """Stop listening, disconnect all clients, and wait for their requests to end.

        :param machine_ends: whether that is why; QEMU leaves the file of its socket behind then
        """
        if self.listener is not None:
            if machine_ends:
                self.listener.end()
            else:
                self.listener.close()
            self.listener = None
        for connection in list(self._connections):
            await connection.close()

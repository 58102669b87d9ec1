"""The NBD server: listens, and serves each client in a task of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qmpd.export.nbd.negotiation import Disconnected, Negotiation
from qmpd.export.nbd.session import NbdSession
from qmpd.loop.clock import Waiter
from qmpd.server import address as addresses

if TYPE_CHECKING:
    from qmpd.export.nbd.export import NbdExport
    from qmpd.loop.clock import Clock, Task
    from qmpd.server.address import SocketAddress

LOG = logging.getLogger("qmpd.nbd")


class NbdServer:
    """A running server.

    :param address: where it listens
    :param exports: what it exports, asked for anew each time
    :param max_connections: clients at a time, 0 for any number; more wait to be accepted
    :param handshake_seconds: how long a client may take to choose an export, 0 for ever
    :raises GenericError: it cannot listen there
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        address: SocketAddress,
        exports: Callable[[], Iterable[NbdExport]],
        *,
        max_connections: int,
        handshake_seconds: int,
    ) -> None:
        self.max_connections = max_connections
        self.handshake_seconds = handshake_seconds
        self.exports = exports
        self.loop = loop
        self.clock = clock
        self._connections: set[_Connection] = set()
        self._accepting = False
        self._address = address
        self._listeners = addresses.listen(address)
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(128)
        self._watch()

    def _watch(self) -> None:
        """Accept clients while there may be more."""
        full = self.max_connections and len(self._connections) >= self.max_connections
        accepting = bool(self._listeners) and not full
        if accepting == self._accepting:
            return
        self._accepting = accepting
        for listener in self._listeners:
            if accepting:
                self.loop.add_reader(listener.fileno(), self._accept, listener)
            else:
                self.loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            LOG.debug("no client: %s", error)
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(_Connection(self, sock))
        self._watch()

    def left(self, connection: _Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._watch()

    def stop_listening(self) -> None:
        """Accept nobody any more; the socket's file goes."""
        listeners = self._listeners
        if self._accepting:
            for listener in listeners:
                self.loop.remove_reader(listener.fileno())
        self._accepting = False
        self._listeners = []
        for listener in listeners:
            listener.close()
        addresses.remove_socket_file(self._address)

    async def close(self) -> None:
        """Stop, and cut off everybody."""
        if self._listeners:
            self.stop_listening()
        for connection in list(self._connections):
            await connection.close()


class _Connection:
    """One client."""

    def __init__(self, server: NbdServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._pending = b""
        self._export: NbdExport | None = None
        self._requests = 0
        self._gone = Waiter()
        self._task = server.loop.create_task(self._serve())

    # What the protocol needs (`Channel`)

    async def read(self, length: int) -> bytes:
        """See `Channel.read`."""
        parts = [self._pending]
        have = len(self._pending)
        try:
            while have < length:
                part = await self._server.loop.sock_recv(self._sock, max(65536, length - have))
                if not part:
                    raise Disconnected
                parts.append(part)
                have += len(part)
        except OSError:
            raise Disconnected from None
        data = b"".join(parts)
        self._pending = data[length:]
        return data[:length]

    async def write(self, data: bytes) -> None:
        """See `Channel.write`."""
        try:
            await self._server.loop.sock_sendall(self._sock, data)
        except OSError:
            raise Disconnected from None

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """See `Channel.run`."""
        done: asyncio.Future[None] = self._server.loop.create_future()
        self._requests += 1

        def ended(_: Task) -> None:
            self._requests -= 1
            if not done.done():
                done.set_result(None)
            self._wake_if_gone()

        task = self._server.clock.enter(work, "nbd request", ended)
        if not task.done:
            await done
        if task.error is not None:
            raise task.error
        return task.result

    def attach(self, export: NbdExport) -> None:
        """See `Channel.attach`."""
        self._export = export
        export.clients.append(self)

    # Its life

    async def _serve(self) -> None:
        try:
            negotiation = Negotiation(self, self._server.exports)
            limit = self._server.handshake_seconds or None
            agreed = await asyncio.wait_for(negotiation.run(), limit)
            await NbdSession(self, agreed).run()
        except (Disconnected, TimeoutError):
            pass
        except Exception:
            LOG.exception("an NBD client could not be served")
        finally:
            if self._export is not None:
                self._export.clients.remove(self)
            self._sock.close()
            self._server.left(self)
            self._wake_if_gone()

    def _wake_if_gone(self) -> None:
        if self._sock.fileno() < 0 and not self._requests:
            self._gone.wake()

    async def close(self) -> None:
        """See `Client.close`."""
        # Whatever waits for the socket sees its end; requests under way come to theirs.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        await self._gone

"""Connecting to servers without holding up the event loop."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.errors import QmpError
from qmpd.loop.task import Timer
from qmpd.monitor.dispatcher import visible
from qmpd.server.address import InetAddress
from qmpd.server.socket_peer import SocketPeer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping
    from typing import Any

    from qmpd.loop.stream import Connect
    from qmpd.loop.task import Handle
    from qmpd.server.address import SocketAddress
    from qmpd.server.sockets import ClientSockets


class Dialer:
    """Connects to servers; it knows all connections that it has made, until they end.

    :param loop: what the connections are read on
    :param sockets: makes them
    """

    def __init__(self, loop: AbstractEventLoop, sockets: ClientSockets) -> None:
        self._loop = loop
        self._sockets = sockets
        self._peers: set[SocketPeer] = set()
        self._closed = False

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        """Connect to a server; see `qmpd.loop.stream.Dial`."""
        try:
            where = self._sockets.read(address)
        except QmpError as error:
            failed(error)
            return Timer(_nothing)

        def connected(sock: socket.socket) -> None:
            if self._closed:
                sock.close()
                return
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers.add(SocketPeer(self._loop, sock, connect, self._peers.discard))

        attempt = Attempt(self._loop, self._sockets, connected, failed)
        attempt.begin(where)
        return attempt

    @property
    def connected(self) -> bool:
        """Whether there is any connection."""
        return bool(self._peers)

    def close(self) -> None:
        """Cut all connections, and make no more: the event loop is about to end."""
        self._closed = True
        for peer in list(self._peers):
            peer.cut()


class Attempt:
    """One attempt to connect, which may be called off.

    Names are looked up, and servers reached that do not answer at once, in a thread of its own.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sockets: ClientSockets,
        connected: Callable[[socket.socket], None],
        failed: Callable[[QmpError], None],
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._connected = connected
        self._failed = failed
        self._cancelled = False

    def cancel(self) -> None:
        """Call it off."""
        self._cancelled = True

    def begin(self, address: SocketAddress) -> None:
        """Connect at once, where that does not take any time; otherwise begin to."""
        try:
            if isinstance(address, InetAddress):
                self._sockets.check(address)
                raise BlockingIOError
            sock = self._sockets.connect(address, wait=False)
        except BlockingIOError:
            self._start_thread(address)
        except QmpError as error:
            self._failed(error)
        else:
            self._connected(sock)

    def _start_thread(self, address: SocketAddress) -> None:
        threading.Thread(target=self._in_thread, args=(address,), daemon=True).start()

    def _in_thread(self, address: SocketAddress) -> None:
        try:
            sock = self._sockets.connect(address)
        except Exception as error:
            self._tell(self._end_failed, visible(error))
        else:
            if not self._tell(self._end_connected, sock):
                sock.close()

    def _tell(self, callback: Callable[..., None], what: object) -> bool:
        """Have the loop call back; False where it runs no more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, what)
            return True
        return False

    def _end_failed(self, error: QmpError) -> None:
        if not self._cancelled:
            self._failed(error)

    def _end_connected(self, sock: socket.socket) -> None:
        if self._cancelled:
            sock.close()
        else:
            self._connected(sock)


def _nothing() -> None:
    """What there is to call off of an attempt that has failed already."""

"""The control monitor's socket: any number of clients at the same time."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.server.chardev.on_stream import StreamChardev
from qmpd.server.chardev.socket import FAREWELL_SECONDS
from qmpd.server.chardev.stream import Stream
from qmpd.server.letting_in import Door
from qmpd.server.listening import Listening
from qmpd.sim.control.control import Control

if TYPE_CHECKING:
    from qmpd.server.address import SocketAddress
    from qmpd.sim.bench import Bench


class ControlSocket:
    """Serves control monitors of `bench` at `address`, one for each client.

    It is no character device of the machine, so that query-chardev does not tell of it.

    :raises GenericError: nothing can listen there
    """

    def __init__(self, loop: AbstractEventLoop, bench: Bench, address: SocketAddress) -> None:
        self._loop = loop
        self._control = Control(bench)
        self._clients: set[_Client] = set()
        self._listening = Listening(address)
        self._door = Door(loop, self._accept, self._listening.sockets)
        self._door.open()

    def _accept(self, sock: socket.socket) -> None:
        client = _Client(self._loop, sock, self._clients.discard)
        self._clients.add(client)
        client.attach(self._control.add_qmp(client.label, client))
        client.start()

    def close(self) -> None:
        """Disconnect all clients, and remove the socket's file."""
        self._control.close()
        for client in list(self._clients):
            client.close()
        self._door.close_for_good()
        self._listening.close()


class _Client(StreamChardev):
    """One client.

    :param left: called when it has gone
    """

    def __init__(
        self, loop: AbstractEventLoop, sock: socket.socket, left: Callable[[_Client], None]
    ) -> None:
        super().__init__("control")
        sock.setblocking(False)
        self._left = left
        self._stream = Stream(loop, sock.fileno(), sock.fileno(), self, sock.close)
        self.is_open = True

    @override
    def start(self) -> None:
        if self._stream is not None:
            self._stream.start()

    @override
    def stream_ended(self) -> None:
        self.disconnect()

    @override
    def disconnect(self) -> None:
        self._end(0)

    @override
    def close(self) -> None:
        self._end(FAREWELL_SECONDS)

    def _end(self, flush_seconds: float) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.close(flush_seconds=flush_seconds)
        self._closed()
        self._left(self)

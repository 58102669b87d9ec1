"""Backend ``socket``: one client at a time, listening or connecting."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from asyncio import AbstractEventLoop, TimerHandle
from typing import Final

from qmpd.base.descriptor import Descriptor
from qmpd.base.override import override
from qmpd.errors import QmpError
from qmpd.monitor.dispatcher import visible
from qmpd.server import address as addresses
from qmpd.server.address import FdAddress, InetAddress, SocketAddress
from qmpd.server.chardev.on_stream import StreamChardev
from qmpd.server.chardev.stream import Neighbours, Stream
from qmpd.server.letting_in import Door
from qmpd.server.listening import Listening
from qmpd.server.sockets import Sockets

LOG = logging.getLogger("qmpd.server")

FAREWELL_SECONDS: Final = 1.0
"""How long a closing chardev waits for its peer to take the last messages."""


class SocketChardev(StreamChardev):
    """A socket with at most one peer; further clients wait in the backlog.

    :param address: where to listen or connect
    :param server: listen; an inherited descriptor that listens already needs no saying
    :param reconnect: seconds between attempts of a connecting socket; 0: none
    :param neighbours: see `Stream`
    :param sockets: makes the sockets; as the owner of the process wants them if absent
    :raises GenericError: it cannot listen or connect
    """

    def __init__(
        self,
        label: str,
        loop: AbstractEventLoop,
        address: SocketAddress,
        *,
        server: bool,
        reconnect: float = 0.0,
        neighbours: Neighbours | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        super().__init__(label)
        self._loop = loop
        self._address = address
        self._reconnect = reconnect
        self._neighbours = neighbours
        self._retry: TimerHandle | None = None
        self._retry_reported = False
        self._peer: socket.socket | None = None
        self._from_elsewhere = ""
        self._started = False
        self._door = Door(loop, self._accept)
        self._sockets = Sockets() if sockets is None else sockets
        self._listening: Listening | None = None
        self._listeners: list[socket.socket] = []
        self.server = server
        if server and address != FdAddress(""):
            self._listening = self._sockets.listen(address)
            self._listeners = self._listening.sockets
        elif server:
            # QEMU takes a server without an address, too: it never has a client
            pass
        elif reconnect:
            self._try_to_connect()
        else:
            self._connect()

    def _connect(self) -> None:
        sock = self._sockets.connect(self._address)
        if isinstance(self._address, FdAddress) and addresses.is_listening(sock):
            self.server = True
            self._listeners = [sock]
        else:
            self._open(sock)

    def _try_to_connect(self) -> None:
        """Connect in a thread: a host that does not answer must hold up nobody."""
        self._retry = None

        def attempt() -> None:
            try:
                found: socket.socket | QmpError = self._sockets.connect(self._address)
            except Exception as error:
                found = visible(error)
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._attempted, found)

        threading.Thread(target=attempt, name=f"connect-{self.label}", daemon=True).start()

    def _attempted(self, found: socket.socket | QmpError) -> None:
        if isinstance(found, socket.socket):
            if self._reconnect:
                self._open(found)
            else:
                found.close()
            return
        if not self._retry_reported:
            self._retry_reported = True
            LOG.error("Unable to connect character device %s: %s", self.label, found.desc)
        if self._reconnect:
            self._retry = self._loop.call_later(self._reconnect, self._try_to_connect)

    @property
    @override
    def inherited(self) -> bool:
        return isinstance(self._address, FdAddress)

    @property
    def filename(self) -> str:
        """As QEMU prints it: ``unix:/run/x,server=on``, ``disconnected:tcp:...``."""
        text = self._from_elsewhere or str(self._address)
        if self.ports:
            text = f"tcp:{addresses.describe(self._listeners[0], peer=False)}"
        server = ",server=on" if self.server else ""
        if self._peer is None:
            return f"disconnected:{text}{server}"
        if isinstance(self._address, InetAddress):
            own = addresses.describe(self._peer, peer=False)
            return f"tcp:{own}{server} <-> {addresses.describe(self._peer, peer=True)}"
        return f"{text}{server}"

    @property
    def ports(self) -> list[tuple[str, int]]:
        """Hosts and ports a TCP server really listens at."""
        return [sock.getsockname()[:2] for sock in self._listeners if sock.family != socket.AF_UNIX]

    def wait_for_client(self) -> None:
        """Block until the first client has connected (``wait=on``)."""
        if self._listeners and self._peer is None:
            self._listeners[0].setblocking(True)
            self._open(self._listeners[0].accept()[0])

    @override
    def start(self) -> None:
        self._started = True
        if self._stream is not None:
            self._stream.start()
        else:
            self._listen()

    def hold(self) -> None:
        """Let no client in until `start`; those that come meanwhile wait."""
        self._started = False
        self._stop_listening()

    def _listen(self) -> None:
        if self._started:
            self._door.sockets = self._listeners
            self._door.open()

    def _stop_listening(self) -> None:
        self._door.close()

    def _accept(self, sock: socket.socket) -> None:
        self._stop_listening()
        self._open(sock)

    def take_client(self, descriptor: Descriptor) -> bool:
        """Have the peer of a connection that somebody has handed over (``tcp_chr_add_client``).

        :returns: whether it had none yet
        """
        if self._peer is not None:
            return False
        self._stop_listening()
        peer = socket.socket(fileno=descriptor.detach())
        self._open(peer)
        if peer.family == socket.AF_UNIX:
            self._from_elsewhere = f"unix:{peer.getsockname()}"
        return True

    def _open(self, sock: socket.socket) -> None:
        if isinstance(self._address, InetAddress) and self._address.nodelay:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer = sock
        self._from_elsewhere = ""
        fd = sock.fileno()
        self._stream = Stream(self._loop, fd, fd, self, sock.close, self._neighbours, sock)
        self._retry_reported = False
        self._opened()
        if self._started and self._stream is not None:
            self._stream.start()

    @override
    def stream_ended(self) -> None:
        """Wait for the next client, or connect again."""
        self.disconnect()

    @override
    def disconnect(self) -> None:
        if self._stream is None:
            return
        self._stream.close()
        self._forget_descriptors()
        self._stream = self._peer = None
        self._from_elsewhere = ""
        self._closed()
        if self._reconnect:
            self._retry = self._loop.call_later(self._reconnect, self._try_to_connect)
        else:
            self._listen()

    def cut(self) -> None:
        """Break the connection off, as a peer does that goes (``char_socket_yank_iochannel``)."""
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)

    @override
    def close(self) -> None:
        """Close the socket, and remove the file of a listening unix socket."""
        if self._retry is not None:
            self._retry.cancel()
        self._reconnect = 0.0
        self._stop_listening()
        self._started = False
        if self._stream is not None:
            self._stream.close(flush_seconds=FAREWELL_SECONDS)
            self._forget_descriptors()
            self._stream = self._peer = None
            self._closed()
        listeners, self._listeners = self._listeners, []
        if self._listening is not None:
            self._listening.close()
        else:
            for sock in listeners:
                with contextlib.suppress(OSError):
                    sock.close()

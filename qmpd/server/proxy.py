"""A man in the middle: between the clients of a QMP server and the server itself."""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import threading
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError
from qmpd.server import address as addresses

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.server.address import SocketAddress
    from qmpd.sim.record.recording import Side
    from qmpd.sim.record.writer import Writer

CHUNK: Final = 65536
"""Bytes that are passed on at a time."""

DESCRIPTORS: Final = 253
"""Descriptors that may come with them (SCM_MAX_FD)."""


class Proxy:
    """Passes bytes and descriptors on, as they come, and tells a `Writer` of them.

    Each client gets a connection of its own to the server, which ends when the client leaves, and
    the other way round; each direction is held up by who does not read.

    :param listeners: where clients come in
    :param server: the address of the server
    :param writer: is told what passes
    :param complain: takes a text about a client that the server does not take
    """

    def __init__(
        self,
        listeners: list[socket.socket],
        server: SocketAddress,
        writer: Writer,
        complain: Callable[[str], None],
    ) -> None:
        self._listeners = listeners
        self._server = server
        self._writer = writer
        self._complain = complain
        self._lock = threading.Lock()
        self._clients = 0
        self._sockets: set[socket.socket] = set()
        self._conversations: set[threading.Thread] = set()
        self._closed = False

    def serve_one(self) -> bool:
        """Wait for a client, and stand between it and the server until it has gone.

        :returns: whether the server has taken it
        """
        return self._pass_on(accept(self._listeners))

    def serve(self) -> None:
        """Serve clients, any number at a time, until `close`."""
        while True:
            try:
                client = accept(self._listeners)
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more, and cut off everybody; the writer is told of nothing after it."""
        with self._lock:
            self._closed = True
            sockets, conversations = [*self._listeners, *self._sockets], [*self._conversations]
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for conversation in conversations:
            conversation.join()

    def _pass_on(self, client: socket.socket) -> bool:
        try:
            server = addresses.connect(self._server)
        except GenericError as error:
            self._complain(error.desc)
            client.close()
            return False
        here = threading.current_thread()
        with client, server:
            with self._lock:
                if self._closed:
                    return False
                self._clients += 1
                number = self._clients
                self._sockets |= {client, server}
                self._conversations.add(here)
                self._writer.opened(number)
            back = threading.Thread(
                target=self._direction, args=(number, "server", server, client), daemon=True
            )
            back.start()
            self._direction(number, "client", client, server)
            back.join()
            with self._lock:
                self._sockets -= {client, server}
                self._conversations.discard(here)
        return True

    def _direction(
        self, number: int, side: Side, source: socket.socket, target: socket.socket
    ) -> None:
        """Pass on what one side says, until it says no more."""
        try:
            while self._step(number, side, source, target):
                pass
        except OSError:
            # the other side has gone, with what it did not read
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RD)
        with self._lock:
            self._writer.closed(number, side)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if side == "server":
            # nobody is left who could answer
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RD)

    def _step(self, number: int, side: Side, source: socket.socket, target: socket.socket) -> bool:
        data, descriptors = receive(source)
        if not data:
            return False
        try:
            with self._lock:
                self._writer.passed(number, side, data, len(descriptors))
            send(target, data, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True


def accept(listeners: list[socket.socket]) -> socket.socket:
    """Wait for a client at any of `listeners`.

    :raises OSError: they listen no longer
    """
    ready, _, _ = select.select(listeners, [], [])
    client: socket.socket = ready[0].accept()[0]
    return client


def receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """Bytes, and the descriptors that came with them; no bytes at the end.

    :raises OSError: the connection has broken
    """
    if source.family != socket.AF_UNIX:
        return source.recv(CHUNK), []
    data, descriptors, _, _ = socket.recv_fds(source, CHUNK, DESCRIPTORS)
    return data, list(descriptors)


def send(target: socket.socket, data: bytes, descriptors: list[int]) -> None:
    """Send bytes, and descriptors with the first of them.

    :raises OSError: the connection has broken
    """
    sent = 0
    if descriptors and target.family == socket.AF_UNIX:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        sent = target.sendmsg([data], rights)
    target.sendall(data[sent:])

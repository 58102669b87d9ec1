"""Listening sockets of exports, and what is connected to them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from qmpd.server.letting_in import Door
from qmpd.server.socket_peer import Company, SocketPeer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from qmpd.loop.stream import Connect
    from qmpd.server.address import SocketAddress
    from qmpd.server.sockets import Sockets

_UNIX_BUFFER: Final = 1 << 19
"""Bytes that a unix socket keeps of what has been sent."""


class SocketListener:
    """Sockets that let peers in (`qmpd.export.host.Listener`).

    :param address: where they listen
    :param connect: takes each peer
    :param sockets: makes them
    :param stays: whether the socket's file outlives the machine, as that of QEMU does
    :param tell: told of each peer that it has ``opened`` or ``closed`` its connection
    :param may_linger: tells whether nothing else is to be done now; a lone peer's next bytes are
        looked out for then, as QEMU's I/O threads do (``poll-max-ns``)
    :raises GenericError: they cannot listen there
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        address: SocketAddress,
        connect: Connect,
        *,
        sockets: Sockets,
        stays: bool = False,
        tell: Callable[[str], None] | None = None,
        may_linger: Callable[[], bool] | None = None,
    ) -> None:
        self._loop = loop
        self._may_linger = may_linger
        self._tell = tell
        self._stays = stays
        self._connect = connect
        self._company = Company(loop)
        self._listening = sockets.listen(address)
        for listener in self._listening.sockets:
            listener.listen(128)
        self._door = Door(loop, self._accept, self._listening.sockets)
        self.resume()

    @property
    def arrivals(self) -> int:
        """Changes whenever the peers have sent something."""
        return sum(peer.arrivals for peer in self._company.peers)

    def resume(self) -> None:
        """Let peers in."""
        self._door.open()

    def pause(self) -> None:
        """Let further peers wait in the backlog."""
        self._door.close()

    def _accept(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            # as QEMU does from 10.1 on; the system may allow less (net.core.wmem_max)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNIX_BUFFER)
        if self._tell is not None:
            self._tell("opened")
        SocketPeer(
            self._loop, sock, self._connect, self._left, self._company, may_linger=self._lingers
        )

    def _lingers(self) -> bool:
        return len(self._company.peers) == 1 and self._may_linger is not None and self._may_linger()

    def _left(self, _: SocketPeer) -> None:
        if self._tell is not None:
            self._tell("closed")

    def end(self) -> None:
        """Let nobody in any more, because the machine ends."""
        self._close(removes_file=not self._stays)

    def close(self) -> None:
        """Let nobody in any more; the socket's file goes."""
        self._close(removes_file=True)

    def _close(self, *, removes_file: bool) -> None:
        self._door.close_for_good()
        self._listening.close(keeps_file=not removes_file)

    def leave_loop(self) -> None:
        """Close, and cut off all peers: the event loop is about to end, the machine is not."""
        self.close()
        for peer in list(self._company.peers):
            peer.cut()

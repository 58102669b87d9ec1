"""Listening sockets of exports, and what is connected to them."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qmpd.loop.stream import BufferedConnection
from qmpd.server.broken_off import watch_again, watch_on
from qmpd.server.letting_in import Door

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Collection, Iterable, Sequence

    from qmpd.loop.stream import Connect, Connection
    from qmpd.server.address import SocketAddress
    from qmpd.server.sockets import Sockets

_UNIX_BUFFER: Final = 1 << 19
"""Bytes that a unix socket keeps of what has been sent."""
_MORE: Final = getattr(socket, "MSG_MORE", 0)
_MOST_PIECES: Final = 1024
"""Pieces that the system takes at a time (IOV_MAX)."""

LINGER: Final = 150_000
"""Nanoseconds for which the next bytes of a lone peer are looked out for; waking takes longer."""
LINGER_IN_ALL: Final = 300_000
"""Nanoseconds after which the event loop has its turn."""

LOG = logging.getLogger("qmpd.server")

CHUNK: Final = 65536
"""Bytes read at a time; more where the connection waits for more."""
_TOGETHER: Final = 1 << 16
"""Bytes after which no more output is collected before it is sent."""


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
        self._peers: set[SocketPeer] = set()
        self._listening = sockets.listen(address)
        for listener in self._listening.sockets:
            listener.listen(128)
        self._door = Door(loop, self._accept, self._listening.sockets)
        self.resume()

    @property
    def arrivals(self) -> int:
        """Changes whenever the peers have sent something."""
        return sum(peer.arrivals for peer in self._peers)

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
        self._peers.add(self._peer(sock))

    def _peer(self, sock: socket.socket) -> SocketPeer:
        return SocketPeer(
            self._loop, sock, self._connect, self._left, self._peers, may_linger=self._lingers
        )

    def _lingers(self) -> bool:
        return len(self._peers) == 1 and self._may_linger is not None and self._may_linger()

    def _left(self, peer: SocketPeer) -> None:
        self._peers.discard(peer)
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
        for peer in list(self._peers):
            peer.cut()


class SocketPeer:
    """A connected socket (`qmpd.export.host.Peer`).

    :param connect: makes what it is connected to
    :param left: called when it has been closed
    :param company: the peers of the same server
    :param may_linger: whether its next bytes may be looked out for, while the event loop waits
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        connect: Connect,
        left: Callable[[SocketPeer], None],
        company: Collection[SocketPeer] = (),
        *,
        may_linger: Callable[[], bool] | None = None,
    ) -> None:
        self._loop = loop
        self._left = left
        self._company = company
        self._may_linger = may_linger
        self._quick = False
        self._served_at = 0
        self._sock = sock
        self._fd = sock.fileno()
        self.arrivals = 0
        """How often it has sent something."""
        self._collected: list[bytes] = []
        self._collected_size = 0
        self._unsent: memoryview | bytes = b""
        self._full = False
        self._closed = False
        self._watching = False
        self._answered = False
        self._connection: Connection = connect(self)
        connection = self._connection
        self._buffered = connection if isinstance(connection, BufferedConnection) else None
        self.resume_input()

    @property
    def congested(self) -> bool:
        """Whether a part of the output has yet to leave."""
        return bool(self._unsent)

    def resume_input(self) -> None:
        """Read."""
        if not self._closed and not self._watching:
            self._watching = True
            self._loop.add_reader(self._fd, self._readable)

    def pause_input(self) -> None:
        """Leave further bytes in the socket."""
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        self._answered = False
        self._read()
        if self._watching and not self._answered:
            watch_on(self._loop, self._fd, self._readable)

    def _read(self) -> None:
        self.arrivals += 1
        if self._buffered is not None:
            buffer = self._buffered.buffer()
            if buffer is not None:
                self._receive(self._buffered, buffer)
                return
            if not self._watching:
                return
        try:
            data = os.read(self._fd, max(CHUNK, self._connection.wanted))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._connection.feed(data)
        else:
            self._ended(self._connection)

    def _receive(self, connection: BufferedConnection, buffer: memoryview) -> None:
        if len(self._company) > 1:
            self._receive_once(connection, buffer)
        else:
            self._receive_lingering(connection, buffer)

    def _receive_once(self, connection: BufferedConnection, buffer: memoryview) -> None:
        try:
            count = self._sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if count:
            connection.received(count)
        else:
            self._ended(connection)

    def _ended(self, connection: Connection) -> None:
        self.pause_input()
        connection.closed()

    def _receive_lingering(self, connection: BufferedConnection, buffer: memoryview) -> None:
        arrived = time.monotonic_ns()
        self._quick = self._quick or arrived - self._served_at < LINGER
        place: memoryview | None = buffer
        until = 0
        while place is not None:
            try:
                count = self._sock.recv_into(place)
            except (BlockingIOError, InterruptedError):
                if time.monotonic_ns() < until:
                    continue
                # nobody has sent anything for as long as that
                self._quick = self._quick and not until
                return
            except OSError:
                count = 0
            if not count:
                self._ended(connection)
                return
            connection.received(count)
            self._served_at = now = time.monotonic_ns()
            if not self._quick or now - arrived > LINGER_IN_ALL or not self._watching:
                return
            if self._may_linger is None or not self._may_linger():
                return
            until = now + LINGER
            place = connection.buffer()

    def write(self, data: bytes) -> None:
        """Send `data`; what the peer does not take now is sent when it does.

        What is written in one turn of the loop leaves together.
        """
        if self._closed:
            return
        if self._unsent:
            self._unsent = bytes(self._unsent) + data
            return
        self._collect((data,), len(data))

    def _collect(self, parts: Iterable[bytes], size: int) -> None:
        """Send pieces of so many bytes in all together with what comes soon."""
        if self._closed:
            return
        self._answered = True
        if not self._collected:
            self._loop.call_soon(self._send_collected)
        self._collected += parts
        self._collected_size += size
        if self._collected_size > _TOGETHER:
            self._send_collected()

    def write_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send pieces, at once if possible; they may be changed once this returns."""
        full, self._full = self._full, False
        if self._unsent:
            self.write(b"".join(parts))
        elif full:
            self._send_parts(parts)
        elif len(self._company) > 1 and (size := sum(map(len, parts))) <= _TOGETHER:
            # Others have asked as well: clients that are woken all at once sleep less.
            self._collect([bytes(part) for part in parts], size)
        else:
            self._send_collected()
            self._send_parts(parts)

    def _send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send pieces; what the peer does not take now is kept."""
        if self._closed:
            return
        self._answered = True
        if self._unsent:
            self._unsent = b"".join([self._unsent, *parts])
            return
        if len(parts) > _MOST_PIECES:
            parts = (b"".join(parts),)
        try:
            sent = self._sock.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # The reader has gone; the end of the input tells the connection.
            if self._watching:
                watch_again(self._loop, self._fd, self._readable)
            return
        rest = _behind(parts, sent)
        if rest:
            self._keep(rest)

    def send_file(self, head: bytes, fd: int, offset: int, length: int) -> int:
        """Send `head` and then bytes of a file, as many as the peer takes now.

        :returns: how many of all these bytes have left
        """
        self._send_collected()
        if self._unsent or self._closed:
            return 0
        self._answered = True
        done = 0
        try:
            done = self._sock.send(head, _MORE)
            while 0 <= (there := done - len(head)) < length:
                sent = os.sendfile(self._fd, fd, offset + there, length - there)
                if not sent:
                    # the file ends there
                    break
                done += sent
        except OSError:
            # The peer takes no more now; or it has gone, as of `_send`; or this cannot be sent so.
            self._full = True
        return done

    def _keep(self, data: bytes | memoryview) -> None:
        """Send `data` when the peer takes it."""
        self._unsent = data
        self._loop.add_writer(self._fd, self._writable)

    def _send_collected(self) -> None:
        if not self._collected or self._closed:
            return
        collected, self._collected = self._collected, []
        self._collected_size = 0
        self._send_parts(collected)

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # The reader has gone; the end of the input tells the connection.
            return len(data)

    def _writable(self) -> None:
        self._unsent = self._unsent[self._send(self._unsent) :]
        if not self._unsent:
            self._loop.remove_writer(self._fd)
            self._connection.drained()

    def close(self) -> None:
        """Cut the peer off."""
        if self._closed:
            return
        self._send_collected()
        self._closed = True
        self.pause_input()
        if self._unsent:
            self._unsent = b""
            self._loop.remove_writer(self._fd)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._left(self)

    def cut(self) -> None:
        """Let the connection end, as when the peer leaves."""
        self.close()
        self._connection.closed()


def _behind(parts: Sequence[bytes | memoryview], count: int) -> bytes:
    """What of `parts` lies behind the first `count` bytes."""
    for number, part in enumerate(parts):
        if count < len(part):
            return b"".join([part[count:], *parts[number + 1 :]])
        count -= len(part)
    return b""

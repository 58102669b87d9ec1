"""Connected sockets: what comes is handed on as it comes, what is sent leaves together."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from qmpd.loop.stream import BufferedConnection
from qmpd.server.broken_off import watch_again, watch_on

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Sequence

    from qmpd.loop.stream import Connect, Connection

_MORE: Final = getattr(socket, "MSG_MORE", 0)
_MOST_PIECES: Final = 1024
"""Pieces that the system takes at a time (IOV_MAX)."""

LINGER: Final = 150_000
"""Nanoseconds for which the next bytes of a lone peer are looked out for; waking takes longer."""
LINGER_IN_ALL: Final = 300_000
"""Nanoseconds after which the event loop has its turn."""

CHUNK: Final = 65536
"""Bytes read at a time; more where the connection waits for more."""
_MOST: Final = 1 << 20
"""Bytes read at a time, at most: sockets hold less, and there has to be memory for them."""
_TOGETHER: Final = 1 << 17
"""Bytes after which no more output is collected before it is sent."""
_SHORT: Final = 1 << 13
"""Bytes up to which pieces are put together rather than sent from where they are."""


class Company:
    """The peers of one server.

    What several of them are sent in one turn of the loop leaves at its end: clients that are woken
    all at once sleep less.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.peers: set[SocketPeer] = set()
        self._waiting: list[SocketPeer] = []

    def send_soon(self, peer: SocketPeer) -> None:
        """Have `peer` send what it has collected at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(peer)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for peer in waiting:
            peer.send_collected()


class SocketPeer:
    """A connected socket (`qmpd.export.host.Peer`).

    :param connect: makes what it is connected to
    :param left: called when it has been closed
    :param company: the peers of the same server; None where there is no server
    :param may_linger: whether its next bytes may be looked out for, while the event loop waits
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        connect: Connect,
        left: Callable[[SocketPeer], None],
        company: Company | None = None,
        *,
        may_linger: Callable[[], bool] | None = None,
    ) -> None:
        self._loop = loop
        self._left = left
        self._company = company or Company(loop)
        self._company.peers.add(self)
        self._peers = self._company.peers
        self._may_linger = may_linger
        self._quick = False
        self._served_at = 0
        self._sock = sock
        self._fd = sock.fileno()
        self.arrivals = 0
        """How often it has sent something."""
        self._collected: list[bytes | memoryview] = []
        self._collected_size = 0
        self._unsent: list[bytes | memoryview] = []
        self.congested = False
        """Whether a part of the output has yet to leave."""
        self._full = False
        self._closed = False
        self._watching = False
        self._answered = False
        self._connection: Connection = connect(self)
        connection = self._connection
        self._buffered = connection if isinstance(connection, BufferedConnection) else None
        self.resume_input()

    # What it sends us

    def resume_input(self) -> None:
        """Read."""
        if not self._closed and not self._watching:
            self._loop.add_reader(self._fd, self._readable)
            self._watching = True

    def pause_input(self) -> None:
        """Leave further bytes in the socket."""
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        self._answered = False
        self.arrivals += 1
        connection = self._buffered
        if connection is None or (place := connection.buffer()) is None:
            self._read()
        elif len(self._peers) == 1:
            self._receive_lingering(connection, place)
        else:
            try:
                count = self._sock.recv_into(place)
            except (BlockingIOError, InterruptedError):
                count = -1
            except OSError:
                count = 0
            if count > 0:
                connection.received(count)
            elif not count:
                self._ended()
        if not self._answered and self._watching:
            watch_on(self._loop, self._fd, self._readable)

    def _read(self) -> None:
        """Read what the connection has no place of its own for."""
        if not self._watching:
            return
        try:
            data = self._receive(min(max(CHUNK, self._connection.wanted), _MOST))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        except MemoryError as error:
            self._starve(error)
            return
        if data:
            self._connection.feed(data)
        else:
            self._ended()

    def _receive(self, most: int) -> bytes:
        try:
            return os.read(self._fd, most)
        except MemoryError as error:
            self._report(error)
        return os.read(self._fd, CHUNK)

    def _ended(self) -> None:
        self.pause_input()
        self._connection.closed()

    def _receive_lingering(self, connection: BufferedConnection, buffer: memoryview) -> None:
        arrived = time.monotonic_ns()
        self._quick = self._quick or arrived - self._served_at < LINGER
        place: memoryview | None = buffer
        while place is not None:
            try:
                count = self._sock.recv_into(place)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                count = 0
            if not count:
                self._ended()
                return
            connection.received(count)
            self._served_at = now = time.monotonic_ns()
            if not self._quick or now - arrived > LINGER_IN_ALL or not self._watching:
                return
            if self._may_linger is None or not self._may_linger():
                return
            if not self._sends_soon(now + LINGER):
                self._quick = False
                return
            place = connection.buffer()

    def _sends_soon(self, until: int) -> bool:
        """Look out for what comes next, until a point in time."""
        arrived = self._arrived
        while not arrived(0):
            if time.monotonic_ns() > until:
                return False
        return True

    @cached_property
    def _arrived(self) -> Callable[[int], list[tuple[int, int]]]:
        """Whether there is anything to read, or nothing to come; takes how long to wait for it.

        To ask takes no lock that a peer which is about to send would have to wait for.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return poll.poll

    # What we send it

    def write(self, data: bytes) -> None:
        """Send `data`; what the peer does not take now is sent when it does.

        What is written in one turn of the loop leaves together.
        """
        if self._closed:
            return
        try:
            if self._unsent:
                self._unsent.append(data)
            else:
                self._collect((data,), len(data))
        except MemoryError as error:
            self._starve(error)

    def _collect(self, parts: Iterable[bytes | memoryview], size: int) -> None:
        """Send pieces of so many bytes in all together with what comes soon."""
        self._answered = True
        if not self._collected:
            self._company.send_soon(self)
        self._collected += parts
        self._collected_size += size
        if self._collected_size > _TOGETHER:
            self.send_collected()

    def write_parts(self, parts: Sequence[bytes | memoryview], size: int, *, lasting: bool) -> None:
        """Send pieces of `size` bytes in all, at once if possible.

        :param lasting: whether none of them changes after this has returned
        """
        if self._closed:
            return
        try:
            if size <= _TOGETHER and len(self._peers) > 1 and not (self._full or self.congested):
                # what `_collect` does, for each request of a client that waits for each
                self._answered = True
                if not self._collected:
                    self._company.send_soon(self)
                self._collected += parts if lasting else map(_kept, parts)
                self._collected_size += size
                if self._collected_size > _TOGETHER:
                    self.send_collected()
                return
            self._full = False
            if self._collected:
                self.send_collected()
            self._send_parts(parts, size)
        except MemoryError as error:
            self._starve(error)

    def send_collected(self) -> None:
        """Send what has been collected."""
        if self._closed or not self._collected:
            return
        collected, self._collected = self._collected, []
        size, self._collected_size = self._collected_size, 0
        try:
            if self._unsent or (size <= _SHORT and len(collected) > 1):
                self._send_parts(collected, size)
            elif (sent := self._send(collected)) < size:
                self._keep(collected, sent)
        except MemoryError as error:
            self._starve(error)

    def _send_parts(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        """Send pieces of `size` bytes in all; what the peer does not take now is kept."""
        self._answered = True
        if self._unsent:
            self._unsent += map(_kept, parts)
            return
        if size <= _SHORT and len(parts) > 1:
            parts = (b"".join(parts),)
        sent = self._send(parts)
        if sent < size:
            self._keep(parts, sent)

    def _keep(self, parts: Sequence[bytes | memoryview], sent: int) -> None:
        """Send what is behind the first `sent` bytes when the peer takes it."""
        self._unsent = [_kept(part) for part in _behind(parts, sent)]
        self.congested = True
        self._loop.add_writer(self._fd, self._writable)

    def _send(self, parts: Sequence[bytes | memoryview]) -> int:
        """Send pieces, as many bytes as the peer takes now."""
        try:
            if len(parts) == 1:
                return self._sock.send(parts[0])
            return self._sock.sendmsg(parts if len(parts) <= _MOST_PIECES else parts[:_MOST_PIECES])
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # The reader has gone; the end of the input tells the connection.
            if self._watching:
                watch_again(self._loop, self._fd, self._readable)
            return sum(map(len, parts))

    def send_file(self, head: bytes, fd: int, offset: int, length: int) -> int:
        """Send `head` and then bytes of a file, as many as the peer takes now.

        :returns: how many of all these bytes have left
        """
        self.send_collected()
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

    def _writable(self) -> None:
        now = self._unsent[:_MOST_PIECES]
        sent = self._send(now)
        self._unsent[: len(now)] = _behind(now, sent)
        if not self._unsent:
            self.congested = False
            self._loop.remove_writer(self._fd)
            self._connection.drained()

    # The end

    def close(self) -> None:
        """Cut the peer off."""
        if self._closed:
            return
        self.send_collected()
        self._closed = True
        self.pause_input()
        if self._unsent:
            self._unsent = []
            self.congested = False
            self._loop.remove_writer(self._fd)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._company.peers.discard(self)
        self._left(self)

    def _starve(self, error: MemoryError) -> None:
        """There is no memory for what it sends, or for what it is sent: cut it off."""
        self._report(error)
        self._collected = []
        self.close()
        self._loop.call_soon(self._connection.closed)

    def _report(self, error: MemoryError) -> None:
        """Have memory let go that is kept by, and say so."""
        report = {"exception": error, "message": "there is no memory left for a client"}
        self._loop.call_exception_handler(report)

    def cut(self) -> None:
        """Let the connection end, as when the peer leaves."""
        self.close()
        self._connection.closed()


def _behind(parts: Sequence[bytes | memoryview], count: int) -> list[bytes | memoryview]:
    """What of `parts` lies behind the first `count` bytes."""
    for number, part in enumerate(parts):
        if count < len(part):
            return [memoryview(part)[count:] if count else part, *parts[number + 1 :]]
        count -= len(part)
    return []


def _kept(part: bytes | memoryview) -> bytes | memoryview:
    """The same bytes, in memory that does not change."""
    return part if isinstance(part, bytes) or isinstance(part.obj, bytes) else bytes(part)

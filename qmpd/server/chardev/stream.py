"""Bytes in and out of file descriptors, on an event loop.

A `Stream` is one connection of a character device: a connected socket, or the
process's standard input and output.  It works on plain descriptors, because
the monitors need what asyncio's transports hide: reading that stops after
every command, a hang-up that is noticed while reading has stopped, pipes and
regular files as input, and output that leaves at once when it can.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from array import array
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Final, Protocol

from qmpd.server.broken_off import watch_on
from qmpd.server.chardev.output import Output

CHUNK: Final = 65536
"""Bytes read at a time; as many are held for a paused reader before reading stops."""
_LITTLE: Final = 4096
"""Bytes read at a time where there is no memory for more."""

LINGER: Final = 100_000
"""Nanoseconds for which a stream looks out for the next request of a client that is quick."""

LINGER_ROUNDS: Final = 32
"""Requests taken that way before the event loop has its turn."""

GIVES_WAY: Final = 0.001
"""Seconds between an answer and the next request of its client, while exports are in use."""

_INT: Final = array("i").itemsize
_ANCILLARY: Final = socket.CMSG_SPACE(253 * _INT)
"""Room for as many descriptors as can come with a piece (SCM_MAX_FD)."""
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class StreamUser(Protocol):
    """Who is told what happens on a stream."""

    def stream_received(self, data: bytes) -> None:
        """Bytes came in (never while input is paused)."""

    def stream_handed_over(self, descriptors: list[int]) -> None:
        """Descriptors came with the bytes that `stream_received` gets next; they are its own."""

    def stream_ended(self) -> None:
        """The peer is gone, or will send no more; called once."""

    def stream_drained(self) -> None:
        """Output, once above `HIGH_WATER`, went below `LOW_WATER`: see `Output`."""


class Neighbours(Protocol):
    """What else the event loop is needed for."""

    @property
    def arrivals(self) -> int:
        """Changes whenever the clients of exports have asked for something."""

    def may_linger(self) -> bool:
        """Whether nothing else is to be done now."""


class Stream:
    """One open pair of descriptors.

    :param read_fd: where bytes come from
    :param write_fd: where bytes go; the same for a socket
    :param close: gives the descriptors back
    :param sock: the socket, where descriptors may come with the bytes (SCM_RIGHTS)
    :param neighbours: tells whether nothing else is to be done now; such a stream looks out for
        the next request of a client that has just answered within `LINGER`, for up to
        `LINGER_ROUNDS` requests, and the event loop waits.  To be woken costs more than a small
        command does: on an idle machine of two CPUs a closed loop of query-version takes 45 us
        with it and 75 to 90 us without.  (QEMU's I/O threads poll in the same way,
        ``poll-max-ns``.)  Where exports are used, on the other hand, the next request waits for
        `GIVES_WAY`: one command for each piece that a copying client gets makes the copy two to
        three times as long.  (In QEMU such commands take 2 ms each, for they wait until the I/O
        thread has let go of the graph.)  Without it a stream never holds up the loop, nor waits
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        read_fd: int,
        write_fd: int,
        user: StreamUser,
        close: Callable[[], None],
        neighbours: Neighbours | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        self._loop = loop
        self._sock = sock if sock is not None and sock.family == socket.AF_UNIX else None
        self._read_fd = read_fd
        self._user = user
        self._close = close
        self._neighbours = neighbours
        self._arrivals = 0
        self._quick = False
        self._served_at = 0
        self._held: deque[tuple[bytes, list[int]]] = deque()
        self._held_bytes = 0
        self._paused = False
        self._reading = False
        self._answered = False
        self._end_of_file = False
        self._told = False
        self._closed = False
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._output = Output(loop, write_fd, user.stream_drained, self._ended)

    @property
    def backlog(self) -> int:
        """Bytes written and not yet sent."""
        return self._output.backlog

    @property
    def congested(self) -> bool:
        """Whether its user should stop producing: see `Output`."""
        return self._output.congested

    @property
    def _waits(self) -> bool:
        """Whether what comes now has to wait: for `resume`, or for what has come before."""
        return self._paused or bool(self._held)

    def start(self) -> None:
        """Begin to read."""
        self._watch()

    def pause(self) -> None:
        """Deliver nothing until `resume`; the peer's hang-up is noticed all the same."""
        self._paused = True

    def resume(self) -> None:
        """Deliver input again, what was held first (soon, not now)."""
        if not self._paused or self._closed:
            return
        self._paused = False
        if self._held or self._end_of_file:
            self._loop.call_soon(self._deliver_held)
        else:
            self._watch()

    def _deliver_held(self) -> None:
        if self._paused or self._closed:
            return
        while self._held and not (self._closed or self._paused):
            data, descriptors = self._held.popleft()
            self._held_bytes -= len(data)
            self._deliver(data, descriptors)
        if self._closed or self._paused:
            return
        if self._end_of_file:
            self._ended()
        else:
            self._watch()

    def _watch(self) -> None:
        if self._reading or self._closed or self._end_of_file:
            return
        self._reading = True
        try:
            self._loop.add_reader(self._read_fd, self._readable)
        except PermissionError:
            # epoll refuses regular files, which are always readable
            self._loop.call_soon(self._read_file)

    def _unwatch(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._read_fd)

    def _read_file(self) -> None:
        self._reading = False
        self._readable()
        if not self._paused:
            self._watch()

    def _read(self) -> tuple[bytes, list[int]] | None:
        """The next bytes, and the descriptors that came with them; None: there is nothing now.

        The system ends a piece with the bytes that had descriptors with them.  At the end, and
        where nothing can be read any more, there are no bytes.
        """
        try:
            if self._sock is None:
                return os.read(self._read_fd, CHUNK), []
            try:
                data, ancillary, _, _ = self._sock.recvmsg(CHUNK, _ANCILLARY, _CLOSE_ON_EXEC)
            except MemoryError:
                data, ancillary, _, _ = self._sock.recvmsg(_LITTLE, _ANCILLARY, _CLOSE_ON_EXEC)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b"", []
        if not ancillary:
            return data, []
        descriptors = array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(payload[: len(payload) - len(payload) % _INT])
        return data, list(descriptors)

    def _deliver(self, data: bytes, descriptors: list[int]) -> None:
        if descriptors:
            self._user.stream_handed_over(descriptors)
        self._user.stream_received(data)

    def _gives_way(self, neighbours: Neighbours) -> bool:
        """Whether exports have been used since the last answer, which was a moment ago."""
        if neighbours.arrivals == self._arrivals:
            return False
        if time.monotonic_ns() - self._served_at >= GIVES_WAY * 1e9:
            return False
        self._unwatch()
        self._loop.call_later(GIVES_WAY, self._watch)
        return True

    def _readable(self) -> None:
        neighbours = self._neighbours
        if neighbours is not None and self._gives_way(neighbours):
            return
        self._answered = False
        self._read_piece(neighbours)
        if self._reading and not self._answered:
            watch_on(self._loop, self._read_fd, self._readable)

    def _read_piece(self, neighbours: Neighbours | None) -> None:
        piece = self._read()
        if piece is None:
            return
        data, descriptors = piece
        if not data:
            self._at_end()
        elif not self._waits:
            self._quick = self._quick or time.monotonic_ns() - self._served_at < LINGER
            self._deliver(data, descriptors)
            if neighbours is not None:
                if self._quick:
                    self._linger(neighbours.may_linger)
                self._served_at = time.monotonic_ns()
                self._arrivals = neighbours.arrivals
        else:
            self._held.append((data, descriptors))
            self._held_bytes += len(data)
            if self._held_bytes >= CHUNK:
                self._unwatch()

    def _linger(self, may_linger: Callable[[], bool]) -> None:
        arrived = self._arrived
        for _ in range(LINGER_ROUNDS):
            # nothing of this changes while the loop stands still
            if self._paused or self._closed or not may_linger():
                return
            until = time.monotonic_ns() + LINGER
            while not arrived(0):
                if time.monotonic_ns() >= until:
                    self._quick = False
                    return
            piece = self._read()
            if piece is None:
                return
            data, descriptors = piece
            if not data:
                self._at_end()
                return
            self._deliver(data, descriptors)

    @cached_property
    def _arrived(self) -> Callable[[int], list[tuple[int, int]]]:
        """Whether there is anything to read, or nothing to come; takes how long to wait for it."""
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        return poll.poll

    def _at_end(self) -> None:
        self._unwatch()
        self._end_of_file = True
        if not self._waits or self._hung_up():
            self._ended()

    def _hung_up(self) -> bool:
        """Whether the peer is gone altogether, and not only done with sending.

        Only a socket can tell (``tcp_chr_hup``): a pipe hangs up when all has been sent.
        """
        if not stat.S_ISSOCK(os.fstat(self._read_fd).st_mode):
            return False
        poll = select.poll()
        poll.register(self._read_fd, 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def _ended(self) -> None:
        if not self._told and not self._closed:
            self._told = True
            self._user.stream_ended()

    def write(self, data: bytes) -> None:
        """Send `data`, at once as far as the peer takes it."""
        if not self._closed and data:
            self._answered = True
            self._output.write(data)

    def close(self, *, flush_seconds: float = 0.0) -> None:
        """Give the descriptors back.

        :param flush_seconds: how long to wait for the peer to take unsent output
        """
        if self._closed:
            return
        self._unwatch()
        self._output.close(flush_seconds)
        self._closed = True
        while self._held:
            for descriptor in self._held.popleft()[1]:
                os.close(descriptor)
        self._close()

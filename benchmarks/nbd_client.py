"""A client of NBD servers that costs little itself: requests are made before they are sent."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from typing import Final

from qmpd.block.drivers.protocols.nbd.protocol import (
    FIXED_NEWSTYLE,
    MAGIC,
    NO_ZEROES,
    OPTION_HEADER,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    Option,
    OptionReply,
)

_BUFFER: Final = 1 << 20
DATA_HEAD: Final = 28
"""Bytes of a structured reply before the data of a read that has come in one piece."""
WRITE_REPLY: Final = 16


class Connection:
    """One connection, past its handshake: structured replies, and base:allocation.

    :param path: the server's socket
    :param export: its name
    """

    def __init__(self, path: str, export: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(path)
        assert self.exactly(16) == MAGIC + OPTION_MAGIC
        self.exactly(2)
        self.socket.sendall(struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES))
        name = struct.pack(">I", len(export)) + export.encode()
        context = b"base:allocation"
        self._option(Option.STRUCTURED_REPLY, b"")
        query = struct.pack(">II", 1, len(context)) + context
        self._option(Option.SET_META_CONTEXT, name + query)
        self._option(Option.GO, name + struct.pack(">H", 0))

    def exactly(self, length: int) -> bytes:
        """Read so many bytes."""
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            assert more, "the server has gone"
            data += more
        return data

    def _option(self, option: int, data: bytes) -> None:
        self.socket.sendall(OPTION_HEADER.pack(OPTION_MAGIC, option, len(data)) + data)
        kind = 0
        while kind != OptionReply.ACK:
            magic, _, kind, length = OPTION_REPLY.unpack(self.exactly(OPTION_REPLY.size))
            assert magic == OPTION_REPLY_MAGIC
            assert kind < 1 << 31, f"option {option} is refused"
            self.exactly(length)

    def close(self) -> None:
        """Leave."""
        self.socket.close()


def requests(command: int, size: int, area: int, payload: bytes = b"") -> bytes:
    """Requests for all of an area, one after the other.

    :param size: bytes of one request
    :param area: bytes from the beginning of the export
    :param payload: what follows each
    """
    return b"".join(
        REQUEST.pack(REQUEST_MAGIC, 0, command, 7, offset, size) + payload
        for offset in range(0, area, size)
    )


class _Lane:
    """A connection with so many requests under way."""

    def __init__(self, connection: Connection, stream: bytes, unit: int, reply: int) -> None:
        self.socket = connection.socket
        self.socket.setblocking(False)
        self._stream = memoryview(stream)
        self._unit = unit
        self._reply = reply
        self._position = 0
        self._received = 0
        self._unsent: deque[memoryview] = deque()
        self.answered = 0
        self.asked = 0

    def ask(self, count: int) -> bool:
        """Send further requests; whether all have left."""
        self.asked += count
        length = count * self._unit
        under_way = bool(self._unsent)
        piece = self._stream[self._position : self._position + length]
        self._unsent.append(piece)
        if len(piece) < length:
            self._unsent.append(self._stream[: length - len(piece)])
        self._position = (self._position + length) % len(self._stream)
        return not under_way and self.send()

    def send(self) -> bool:
        """Send what has not left yet; whether all has."""
        while self._unsent:
            piece = self._unsent.popleft()
            try:
                sent = self.socket.send(piece)
            except BlockingIOError:
                sent = 0
            if sent < len(piece):
                self._unsent.appendleft(piece[sent:])
                return False
        return True

    def take(self, buffer: bytearray) -> int:
        """Read what has come; how many requests that has answered."""
        self._received += self.socket.recv_into(buffer)
        count, self._received = divmod(self._received, self._reply)
        self.answered += count
        return count


def rate(
    connections: list[Connection],
    stream: bytes,
    unit: int,
    reply: int,
    *,
    depth: int,
    seconds: float,
) -> float:
    """Requests per second, with `depth` under way on each connection.

    :param stream: the requests, which are sent again and again
    :param unit: bytes of each
    :param reply: bytes of each answer
    """
    if len(connections) == depth == 1:
        return _one_by_one(connections[0], stream, unit, reply, seconds)
    lanes = [_Lane(connection, stream, unit, reply) for connection in connections]
    poll = select.epoll()
    by_fd = {lane.socket.fileno(): lane for lane in lanes}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    buffer = bytearray(_BUFFER)
    began = time.perf_counter()
    until = began + seconds

    def send(fd: int, lane: _Lane, count: int) -> None:
        left = lane.ask(count) if count else lane.send()
        poll.modify(fd, select.EPOLLIN if left else select.EPOLLIN | select.EPOLLOUT)

    for fd, lane in by_fd.items():
        send(fd, lane, depth)
    running = True
    while running or any(lane.asked > lane.answered for lane in lanes):
        for fd, what in poll.poll(30):
            lane = by_fd[fd]
            if what & select.EPOLLOUT:
                send(fd, lane, 0)
            if what & select.EPOLLIN:
                count = lane.take(buffer)
                if running and count and not lane.ask(count):
                    poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
        running = running and time.perf_counter() < until
    passed = time.perf_counter() - began
    poll.close()
    return sum(lane.answered for lane in lanes) / passed


def _one_by_one(
    connection: Connection, stream: bytes, unit: int, reply: int, seconds: float
) -> float:
    """Requests per second, each sent when the one before has been answered."""
    sock = connection.socket
    sock.setblocking(True)
    view = memoryview(stream)
    buffer = memoryview(bytearray(max(reply, _BUFFER)))
    position = count = 0
    began = time.perf_counter()
    until = began + seconds
    while time.perf_counter() < until:
        sock.sendall(view[position : position + unit])
        position = (position + unit) % len(view)
        received = sock.recv_into(buffer)
        while received < reply:
            received += sock.recv_into(buffer)
        count += 1
    return count / (time.perf_counter() - began)

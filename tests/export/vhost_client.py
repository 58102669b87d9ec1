"""A vhost-user-blk front-end: guest memory, split virtqueues and the messages of the protocol.

Everything is plain numbers of the vhost-user and virtio specifications, on purpose not those
of qmpd's own tables.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

GET_FEATURES: Final = 1
SET_FEATURES: Final = 2
SET_OWNER: Final = 3
SET_MEM_TABLE: Final = 5
SET_VRING_NUM: Final = 8
SET_VRING_ADDR: Final = 9
SET_VRING_BASE: Final = 10
GET_VRING_BASE: Final = 11
SET_VRING_KICK: Final = 12
SET_VRING_CALL: Final = 13
SET_VRING_ERR: Final = 14
GET_PROTOCOL_FEATURES: Final = 15
SET_PROTOCOL_FEATURES: Final = 16
GET_QUEUE_NUM: Final = 17
SET_VRING_ENABLE: Final = 18
GET_CONFIG: Final = 24
SET_CONFIG: Final = 25
GET_INFLIGHT_FD: Final = 31
SET_INFLIGHT_FD: Final = 32
GET_MAX_MEM_SLOTS: Final = 36
ADD_MEM_REG: Final = 37
REM_MEM_REG: Final = 38

IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13

NEXT, WRITE, INDIRECT = 1, 2, 4

EVENT_IDX: Final = 1 << 29
INDIRECT_DESC: Final = 1 << 28
VERSION_1: Final = 1 << 32
PROTOCOL_FEATURES: Final = 1 << 30

_HEADER = struct.Struct("<III")
_AREA: Final = 0x10000
"""Bytes of guest memory for the ring of each queue."""
DATA: Final = 0x100000
"""Guest address where buffers are."""
USER: Final = 0x7F1200000000
"""User address of guest address 0."""


class Reply(NamedTuple):
    """A message from the back-end."""

    request: int
    flags: int
    payload: bytes
    fds: list[int]


class Done(NamedTuple):
    """A request's end: the status byte, what was read, and the length in the used ring."""

    status: int
    data: bytes
    used: int


class Refused(Exception):
    """The back-end has closed the connection."""


class Ring:
    """The driver's side of one virtqueue."""

    def __init__(self, client: VhostClient, index: int, size: int) -> None:
        self.index = index
        self.size = size
        self.desc = index * _AREA
        self.avail = self.desc + 16 * size
        self.used = (self.avail + 6 + 2 * size + 3) // 4 * 4
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.next = 0
        self.seen = 0
        self._memory = client.memory

    def put(self, index: int, address: int, length: int, flags: int, following: int = 0) -> None:
        """Write a descriptor."""
        at = self.desc + 16 * index
        struct.pack_into("<QIHH", self._memory, at, address, length, flags, following)

    def offer(self, head: int) -> None:
        """Make a chain available."""
        struct.pack_into("<H", self._memory, self.avail + 4 + 2 * (self.next % self.size), head)
        self.next = (self.next + 1) & 0xFFFF
        struct.pack_into("<H", self._memory, self.avail + 2, self.next)

    def want_event(self, index: int) -> None:
        """Ask for a call once the used index passes `index` (feature EVENT_IDX)."""
        struct.pack_into("<H", self._memory, self.avail + 4 + 2 * self.size, index & 0xFFFF)

    def ring(self) -> None:
        """Kick the back-end."""
        os.eventfd_write(self.kick, 1)

    @property
    def used_index(self) -> int:
        """How many chains are used, modulo 65536."""
        return int(struct.unpack_from("<H", self._memory, self.used + 2)[0])

    @property
    def avail_event(self) -> int:
        """The available index of which the back-end wants to be told."""
        return int(struct.unpack_from("<H", self._memory, self.used + 4 + 8 * self.size)[0])

    def take(self) -> tuple[int, int]:
        """The next used chain's head, and its length."""
        at = self.used + 4 + 8 * (self.seen % self.size)
        head, length = struct.unpack_from("<II", self._memory, at)
        self.seen = (self.seen + 1) & 0xFFFF
        return head, length

    def close(self) -> None:
        """Close its descriptors."""
        os.close(self.kick)
        os.close(self.call)


class VhostClient:
    """A connection to a back-end.

    :param path: its socket
    :param size: bytes of guest memory, in two regions that meet in the middle
    """

    def __init__(self, path: Path, size: int = 8 << 20, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self.size = size
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        self.rings: list[Ring] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(timeout)

    def close(self) -> None:
        """Leave."""
        self.socket.close()
        for ring in self.rings:
            ring.close()
        self.memory.close()
        os.close(self.fd)

    # Messages

    def send(
        self, request: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 1
    ) -> None:
        """Send a message."""
        data = _HEADER.pack(request, flags, len(payload)) + payload
        try:
            socket.send_fds(self.socket, [data], list(fds))
        except OSError as error:
            raise Refused from error

    def receive(self) -> Reply:
        """A message.

        :raises Refused: there is none any more
        """
        try:
            head, fds, _, _ = socket.recv_fds(self.socket, _HEADER.size, 8)
            if len(head) < _HEADER.size:
                raise Refused
            request, flags, size = _HEADER.unpack(head)
            payload = self.socket.recv(size, socket.MSG_WAITALL) if size else b""
        except ConnectionError as error:
            raise Refused from error
        return Reply(request, flags, payload, list(fds))

    def ask(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> Reply:
        """A request that has an answer."""
        self.send(request, payload, fds)
        return self.receive()

    def number(self, request: int) -> int:
        """A request whose answer is a number."""
        return int(struct.unpack("<Q", self.ask(request).payload)[0])

    def tell(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """A request without an answer; that it has been done is waited for."""
        self.send(request, payload, fds, flags=1 | 8)
        reply = self.receive()
        assert reply.payload == bytes(8), reply

    def config(self, size: int = 60) -> bytes:
        """The device's configuration space."""
        reply = self.ask(GET_CONFIG, struct.pack("<III", 0, size, 0) + bytes(size))
        return reply.payload[12:]

    def set_write_cache(self, on: int) -> None:
        """Change the writeback byte of the configuration."""
        self.tell(SET_CONFIG, struct.pack("<III", 32, 1, 0) + bytes([on]))

    def gone(self) -> bool:
        """Whether the back-end closes the connection (without another word)."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    # The device

    def regions(self) -> list[tuple[int, int, int, int]]:
        """Guest address, size, user address and offset in the file, of each region."""
        half = self.size // 2
        return [(0, half, USER, 0), (half, half, USER + half, half)]

    def set_memory(self) -> None:
        """Share the guest's memory."""
        regions = self.regions()
        table = b"".join(struct.pack("<QQQQ", *region) for region in regions)
        payload = struct.pack("<II", len(regions), 0) + table
        self.tell(SET_MEM_TABLE, payload, [self.fd] * len(regions))

    def start(self, queues: int = 1, size: int = 64, features: int | None = None) -> None:
        """Negotiate, share memory and start queues."""
        offered = self.number(GET_FEATURES)
        self.features = offered & ~EVENT_IDX & ~1 if features is None else features
        self.tell(SET_PROTOCOL_FEATURES, struct.pack("<Q", 0x1 | 0x8 | 0x200))
        self.tell(SET_OWNER)
        self.tell(SET_FEATURES, struct.pack("<Q", self.features))
        self.set_memory()
        for index in range(queues):
            self.start_queue(index, size)

    def start_queue(self, index: int, size: int, base: int = 0) -> Ring:
        """Set up a queue and start it."""
        ring = Ring(self, index, size)
        ring.next = ring.seen = base
        struct.pack_into("<HH", self.memory, ring.avail, 0, base)
        struct.pack_into("<HH", self.memory, ring.used, 0, base)
        self.rings.append(ring)
        self.tell(SET_VRING_NUM, struct.pack("<II", index, size))
        self.tell(SET_VRING_BASE, struct.pack("<II", index, base))
        addresses = (USER + ring.desc, USER + ring.used, USER + ring.avail)
        self.tell(SET_VRING_ADDR, struct.pack("<IIQQQQ", index, 0, *addresses, 0))
        self.tell(SET_VRING_CALL, struct.pack("<Q", index), [ring.call])
        self.tell(SET_VRING_KICK, struct.pack("<Q", index), [ring.kick])
        self.tell(SET_VRING_ENABLE, struct.pack("<II", index, 1))
        self.await_call(ring)  # given at once, in case one got lost before
        return ring

    def await_call(self, ring: Ring) -> None:
        """Wait for a call of the back-end.

        :raises Refused: it has closed the connection instead
        """
        poll = select.poll()
        poll.register(ring.call, select.POLLIN)
        poll.register(self.socket, select.POLLIN | select.POLLHUP)
        ready = dict(poll.poll(self.timeout * 1000))
        if ring.call in ready:
            os.eventfd_read(ring.call)
        elif ready:
            raise Refused
        else:
            raise TimeoutError("no call")

    def await_used(self, ring: Ring, count: int) -> list[tuple[int, int]]:
        """Heads and lengths of the next `count` used chains."""
        while (ring.used_index - ring.seen) & 0xFFFF < count:
            self.await_call(ring)
        return [ring.take() for _ in range(count)]

    def request(
        self,
        kind: int,
        sector: int = 0,
        out: bytes | Sequence[bytes] = b"",
        length: int = 0,
        *,
        queue: int = 0,
        indirect: bool = False,
    ) -> Done:
        """Have a request done.

        :param out: what the device reads, perhaps in parts
        :param length: bytes that it may write, before the status
        """
        ring = self.rings[queue]
        parts = [out] if isinstance(out, bytes) else list(out)
        parts = [struct.pack("<IIQ", kind, 0, sector), *(part for part in parts if part)]
        at = DATA + queue * (self.size - DATA) // 8 // 16 * 16
        table: list[tuple[int, int, int]] = []
        for part in parts:
            self.memory[at : at + len(part)] = part
            table.append((at, len(part), 0))
            at += len(part)
        inward = at
        if length:
            self.memory[at : at + length] = b"\xee" * length
            table.append((at, length, WRITE))
            at += length
        self.memory[at] = 0xEE
        table.append((at, 1, WRITE))
        if indirect:
            start = ring.desc + _AREA // 2
            for number, (address, size, flags) in enumerate(table):
                more = number < len(table) - 1
                entry = (address, size, flags | (NEXT if more else 0), number + 1 if more else 0)
                struct.pack_into("<QIHH", self.memory, start + 16 * number, *entry)
            ring.put(0, start, 16 * len(table), INDIRECT)
        else:
            for number, (address, size, flags) in enumerate(table):
                more = number < len(table) - 1
                ring.put(number, address, size, flags | (NEXT if more else 0), number + 1)
        ring.offer(0)
        ring.ring()
        [(head, used)] = self.await_used(ring, 1)
        assert head == 0
        return Done(self.memory[at], self.memory[inward:at], used)


def area(sector: int, count: int, flags: int) -> bytes:
    """What a discard or a zero write is about."""
    return struct.pack("<QII", sector, count, flags)

"""Split virtqueues, the device's side (virtio 1.2, section 2.7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from qmpd.export.vhost_user.guest_memory import GuestMemory
from qmpd.export.vhost_user.protocol import Feature, Panic

DESCRIPTOR: Final = struct.Struct("<QIHH")
"""Address, length, flags, next."""
USED: Final = struct.Struct("<II")
"""Head of the chain, bytes written."""

NEXT: Final = 1
WRITE: Final = 2
INDIRECT: Final = 4
NO_INTERRUPT: Final = 1
"""Flag of the available ring."""

MAX_BUFFERS: Final = 1024
"""Buffers of one chain, and entries of an indirect table."""
MAX_SIZE: Final = 1 << 15
"""Entries of a ring."""


@dataclass(slots=True)
class Element:
    """A chain of buffers, guest addresses with lengths: readable ones first."""

    head: int
    readable: list[tuple[int, int]]
    writable: list[tuple[int, int]]


class _Rings:
    """The shared memory of a queue."""

    def __init__(
        self, memory: GuestMemory, size: int, desc: int, used: int, available: int
    ) -> None:
        self.desc = memory.at_user_address(desc, DESCRIPTOR.size * size)
        self.used = memory.at_user_address(used, 6 + USED.size * size)
        self.available = memory.at_user_address(available, 6 + 2 * size)


class Virtqueue:
    """A queue.

    :param memory: the memory with its rings and buffers
    """

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._rings: _Rings | None = None
        self._addresses: tuple[int, int, int] | None = None
        self._log_address = 0
        self._size = 0
        self.next_available = 0
        self._used_index = 0
        self._in_use = 0
        self._signalled: int | None = None
        self.kick_fd: int | None = None
        self.call_fd: int | None = None
        self.error_fd: int | None = None

    # Set up

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._size

    def set_size(self, size: int) -> None:
        """Set the number of entries."""
        self.unbind()
        self._size = size

    def set_addresses(self, desc: int, used: int, available: int, log: int) -> None:
        """Set user addresses of the rings.

        :param log: the guest address that writes to the used ring are logged at

        :raises Panic: they are not in the client's memory
        """
        self.unbind()
        for address in (desc, used, available):
            self._memory.at_user_address(address)
        self._used_index = self._memory.at_user_address(used, 4).load16(2)
        self._addresses = (desc, used, available)
        self._log_address = log
        self._signalled = None

    def unbind(self) -> None:
        """Release the memory until the queue is used again."""
        self._rings = None

    def _bound(self) -> _Rings | None:
        """The rings; None before the client has set their addresses.

        :raises Panic: they are not in the client's memory
        """
        if self._rings is None and self._addresses is not None:
            if not 0 < self._size <= MAX_SIZE:
                raise Panic(f"Invalid size of a queue: {self._size}")
            self._rings = _Rings(self._memory, self._size, *self._addresses)
        return self._rings

    # Chains

    def pop(self, features: int) -> Element | None:
        """The next chain that the driver has made available.

        :param features: what the driver has accepted
        :raises Panic: it is malformed
        """
        rings = self._bound()
        if rings is None:
            return None
        waiting = (rings.available.load16(2) - self.next_available) & 0xFFFF
        if not waiting:
            return None
        if waiting > self._size or self._in_use >= self._size:
            raise Panic("Virtqueue size exceeded")
        head = rings.available.load16(4 + 2 * (self.next_available % self._size))
        self.next_available = (self.next_available + 1) & 0xFFFF
        if head >= self._size:
            raise Panic(f"Guest says index {head} is available")
        if features & Feature.EVENT_IDX:
            rings.used.store16(4 + USED.size * self._size, self.next_available)
        element = self._read_chain(rings, head)
        self._in_use += 1
        return element

    def _read_chain(self, rings: _Rings, head: int) -> Element:
        table: bytes | None = None
        entries, index = self._size, head
        at = DESCRIPTOR.size * index
        address, length, flags, following = DESCRIPTOR.unpack(rings.desc.read(at, DESCRIPTOR.size))
        if flags & INDIRECT:
            table = self._indirect_table(address, length)
            entries, at = len(table) // DESCRIPTOR.size, 0
            address, length, flags, following = DESCRIPTOR.unpack_from(table)
        element = Element(head, [], [])
        while True:
            if not flags & WRITE and element.writable:
                raise Panic("Incorrect order for descriptors")
            self._add(element, address, length, element.writable if flags & WRITE else None)
            if len(element.readable) + len(element.writable) > entries:
                raise Panic("Looped descriptor")
            if not flags & NEXT:
                return element
            if following >= entries:
                raise Panic(f"Desc next is {following}")
            at = DESCRIPTOR.size * following
            raw = rings.desc.read(at, DESCRIPTOR.size) if table is None else table[at:]
            address, length, flags, following = DESCRIPTOR.unpack_from(raw)

    def _indirect_table(self, address: int, length: int) -> bytes:
        if length % DESCRIPTOR.size:
            raise Panic("Invalid size for indirect buffer table")
        if not 0 < length <= MAX_BUFFERS * DESCRIPTOR.size:
            raise Panic("Invalid indirect buffer table")
        try:
            return self._memory.read(address, length)
        except Panic:
            raise Panic("Invalid indirect buffer table") from None

    def _add(
        self, element: Element, address: int, length: int, into: list[tuple[int, int]] | None
    ) -> None:
        """Add a buffer, split at the boundaries of the client's regions."""
        if not length:
            raise Panic("virtio: zero sized buffers are not allowed")
        parts = element.readable if into is None else into
        for _, _, size in self._memory.pieces(address, length):
            if len(element.readable) + len(element.writable) == MAX_BUFFERS:
                raise Panic("virtio: too many descriptors in indirect table")
            parts.append((address, size))
            address += size

    def push(self, element: Element, length: int) -> None:
        """Return a chain to the driver.

        :param length: bytes that were written to it
        :raises Panic: the memory of the rings was taken away
        """
        self._in_use -= 1
        rings = self._bound()
        if rings is None:
            return
        before, place = self._used_index, self._used_index % self._size
        rings.used.write(4 + USED.size * place, USED.pack(element.head, length))
        self._used_index = (before + 1) & 0xFFFF
        rings.used.store_index(self._used_index)
        if self._signalled is not None:
            behind = (self._used_index - self._signalled) & 0xFFFF
            if behind >= 0x8000 or not behind:
                self._signalled = None
        self._memory.mark(self._log_address + 4 + USED.size * place, USED.size)
        self._memory.mark(self._log_address + 2, 2)

    def wants_call(self, features: int) -> bool:
        """Whether the driver wants a notification about the chains that were returned."""
        rings = self._bound()
        if rings is None:
            return False
        self._memory.fence()
        empty = not self._in_use and rings.available.load16(2) == self.next_available
        if features & Feature.NOTIFY_ON_EMPTY and empty:
            return True
        if not features & Feature.EVENT_IDX:
            return not rings.available.load16(0) & NO_INTERRUPT
        before, self._signalled = self._signalled, self._used_index
        if before is None:
            return True
        event = rings.available.load16(4 + 2 * self._size)
        passed = (self._used_index - event - 1) & 0xFFFF
        return passed < (self._used_index - before) & 0xFFFF

"""A virtio block device on a block backend: its configuration and its requests (virtio 1.2, 5.2).

Which requests it refuses, and with which status, follows block/export/virtio-blk-handler.c.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import REQUEST_MAX_BYTES, SECTOR
from qmpd.block.io.sync_ahead import sync_ahead
from qmpd.errors import BlockIOError
from qmpd.export.vhost_user.protocol import QUEUE_FEATURES

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.export.vhost_user.guest_memory import GuestMemory
    from qmpd.export.vhost_user.virtqueue import Element

SERIAL: Final = b"vhost_user_blk\0"
ID_BYTES: Final = 20
MAX_SECTORS: Final = 32768
"""Sectors of the longest discard or zero write."""
MAX_REQUEST: Final = REQUEST_MAX_BYTES
"""Bytes of the longest read or write."""
UNMAP: Final = 1
"""Flag of a zero write: it may unmap."""
BARRIER: Final = 1 << 31
"""Bit of a request's type that is ignored (VIRTIO_BLK_T_BARRIER)."""

_HEADER: Final = struct.Struct("<IIQ")
"""Type, priority, sector."""
_RANGE: Final = struct.Struct("<QII")
"""Sector, number of sectors, flags."""
_CONFIG: Final = struct.Struct("<QIIHBBIBBHIBxHIIIIIBxxx36x")
WCE_OFFSET: Final = 32
"""Offset in the configuration space of the byte that enables the write cache."""


class BlockFeature(IntFlag):
    """Features of block devices."""

    SIZE_MAX = 1 << 1
    SEG_MAX = 1 << 2
    RO = 1 << 5
    BLK_SIZE = 1 << 6
    FLUSH = 1 << 9
    TOPOLOGY = 1 << 10
    CONFIG_WCE = 1 << 11
    MQ = 1 << 12
    DISCARD = 1 << 13
    WRITE_ZEROES = 1 << 14


class RequestType(IntEnum):
    """Requests."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8
    DISCARD = 11
    WRITE_ZEROES = 13


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    IOERR = 1
    UNSUPP = 2


CHANGING: Final = frozenset({RequestType.OUT, RequestType.DISCARD, RequestType.WRITE_ZEROES})
"""Requests that a read-only device fails."""


class Malformed(Exception):
    """A request too short for a header or a status byte: it cannot be answered."""


class VirtioBlk:
    """A device.

    :param backend: the backend that it reads and writes
    :param block_size: bytes of a logical block
    :param queues: how many queues for requests it has
    """

    def __init__(
        self, backend: BlockBackend, *, writable: bool, block_size: int, queues: int
    ) -> None:
        self._backend = backend
        self._writable = writable
        self._block_size = block_size
        self.queues = queues
        self._wce = 0
        self._patiently = backend.graph.services.loop.completions.patiently

    @property
    def features(self) -> int:
        """The features that it offers, including those of its queues."""
        features = (
            BlockFeature.SIZE_MAX
            | BlockFeature.SEG_MAX
            | BlockFeature.BLK_SIZE
            | BlockFeature.FLUSH
            | BlockFeature.TOPOLOGY
            | BlockFeature.CONFIG_WCE
            | BlockFeature.MQ
            | BlockFeature.DISCARD
            | BlockFeature.WRITE_ZEROES
        )
        return int(features) | int(QUEUE_FEATURES) | (0 if self._writable else BlockFeature.RO)

    def config(self) -> bytes:
        """The configuration space: capacity in sectors, limits, write cache."""
        return _CONFIG.pack(
            *(self._backend.length() // SECTOR, 0, 126),  # capacity, size_max, seg_max
            *(0, 0, 0),  # geometry
            *(self._block_size, 0, 0, 1, 1),  # block size and topology
            *(self._wce, self.queues),
            *(MAX_SECTORS, 1, self._block_size // SECTOR),  # discards: length, ranges, alignment
            *(MAX_SECTORS, 1, 0),  # zero writes: length, ranges, whether they may unmap
        )

    def set_wce(self, value: int) -> None:
        """Enable or disable the write cache; without it, a write is stable when it completes."""
        self._wce = value
        self._backend.enable_write_cache = bool(value)

    async def process(self, memory: GuestMemory, element: Element) -> int:
        """Do a request; returns the number of bytes written to the driver's buffers.

        :param memory: of the driver
        :param element: the request: header and data, then data and status
        :raises Malformed: there is no header, or no status
        :raises Panic: the memory was taken away
        """
        if not element.readable or not element.writable:
            raise Malformed("virtio-blk request missing headers")
        out_length = sum(length for _, length in element.readable)
        if out_length < _HEADER.size:
            raise Malformed("virtio-blk request outhdr too short")
        kind, _, sector = _HEADER.unpack(_gather(memory, element.readable, 0, _HEADER.size))
        in_length = sum(length for _, length in element.writable)
        address, length = element.writable[-1]
        try:
            status = await self._do(
                kind & ~BARRIER, sector, memory, element, out_length - _HEADER.size, in_length - 1
            )
        except (BlockIOError, MemoryError):
            status = Status.IOERR
        memory.write(address + length - 1, bytes([status]))
        return in_length

    async def _do(
        self,
        kind: int,
        sector: int,
        memory: GuestMemory,
        element: Element,
        out_length: int,
        in_length: int,
    ) -> Status:
        if kind in CHANGING and not self._writable:
            return Status.IOERR
        if kind == RequestType.IN:
            if not self._in_range(sector, in_length):
                return Status.IOERR
            _scatter(memory, element, await self._backend.pread(sector * SECTOR, in_length))
        elif kind == RequestType.OUT:
            if not self._in_range(sector, out_length):
                return Status.IOERR
            data = _gather(memory, element.readable, _HEADER.size, out_length)
            await self._patiently(self._backend.pwrite(sector * SECTOR, data))
        elif kind == RequestType.FLUSH:
            await self._patiently(self._flush())
        elif kind == RequestType.GET_ID:
            _scatter(memory, element, SERIAL[: min(in_length, ID_BYTES)])
        elif kind in (RequestType.DISCARD, RequestType.WRITE_ZEROES):
            if out_length > _RANGE.size:
                return Status.UNSUPP
            if out_length < _RANGE.size:
                return Status.IOERR
            area = _RANGE.unpack(_gather(memory, element.readable, _HEADER.size, _RANGE.size))
            return await self._patiently(self._clear(kind, *area))
        else:
            return Status.UNSUPP
        return Status.OK

    async def _flush(self) -> None:
        await sync_ahead(self._backend.node)
        await self._backend.flush()

    async def _clear(self, kind: int, sector: int, count: int, flags: int) -> Status:
        """Discard sectors, or write zeroes there."""
        if count > MAX_SECTORS or not self._in_range(sector, count * SECTOR):
            return Status.IOERR
        if flags & ~(UNMAP if kind == RequestType.WRITE_ZEROES else 0):
            return Status.UNSUPP
        offset, length = sector * SECTOR, count * SECTOR
        if kind == RequestType.DISCARD:
            await self._backend.pdiscard(offset, length)
        else:
            await self._backend.pwrite_zeroes(offset, length, may_unmap=bool(flags))
        return Status.OK

    def _in_range(self, sector: int, length: int) -> bool:
        offset = sector * SECTOR
        if length % SECTOR or length > MAX_REQUEST or offset % (self._block_size or SECTOR):
            return False
        return offset + length <= -(-self._backend.length() // SECTOR) * SECTOR


def _gather(memory: GuestMemory, buffers: list[tuple[int, int]], skip: int, length: int) -> bytes:
    """The concatenated bytes of buffers."""
    parts = []
    for address, size in buffers:
        if skip >= size:
            skip -= size
            continue
        count = min(size - skip, length)
        if count:
            parts.append(memory.read(address + skip, count))
        length -= count
        skip = 0
    return b"".join(parts)


def _scatter(memory: GuestMemory, element: Element, data: bytes) -> None:
    """Write bytes into the writable buffers, before the status byte."""
    view = memoryview(data)
    for address, size in element.writable:
        if not view:
            break
        count = min(size, len(view))
        memory.write(address, view[:count])
        view = view[count:]

"""What a driver can take in one request, and requests cut and padded to that.

Most drivers take any request; then a node has no `BlockLimits` and nothing here is used.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from qmpd.base.sizes import REQUEST_MAX_BYTES, SECTOR
from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """Limits of a driver, in bytes; 0 for none.

    `request_alignment`: of every request.  The others: of zero writes and discards, as far
    as they can be had, and the longest request of each kind.
    """

    request_alignment: int = 1
    max_transfer: int = 0
    pwrite_zeroes_alignment: int = 0
    max_pwrite_zeroes: int = 0
    pdiscard_alignment: int = 0
    max_pdiscard: int = 0


class Alignments(NamedTuple):
    """What discards, and memory, are best aligned to: for queries alone.

    They are those of the time when a node's limits were last asked for.
    """

    discard: int = 0
    memory: int = SECTOR
    request: int = 0
    """Of requests, where their driver wants more than it makes use of; not handed upwards."""


class RequestTracker:
    """Requests under way in a node whose requests are padded.

    A padded write reads, changes and writes back what surrounds it: no other write may come
    in between there.
    """

    def __init__(self) -> None:
        self._areas: list[tuple[int, int, Waiter]] = []

    async def begin(self, start: int, end: int) -> tuple[int, int, Waiter]:
        """Claim ``start .. end - 1``, when nobody else has any of it."""
        while True:
            other = next((a for a in self._areas if a[0] < end and start < a[1]), None)
            if other is None:
                area = (start, end, Waiter())
                self._areas.append(area)
                return area
            waiter = Waiter()
            before = other[2]
            _chain(before, waiter)
            await waiter

    def end(self, area: tuple[int, int, Waiter]) -> None:
        """Give the area back."""
        self._areas.remove(area)
        area[2].wake()


class _Driver(Protocol):
    def zeroes_without_fallback(self) -> bool: ...
    async def pread(self, offset: int, length: int) -> bytes: ...
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None: ...
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None: ...
    async def zero_fast(self, offset: int, length: int, *, may_unmap: bool = False) -> None: ...
    async def pdiscard(self, offset: int, length: int) -> None: ...


class Limited(Protocol):
    """A node, as far as it is needed here."""

    tracker: RequestTracker

    @property
    def driver(self) -> _Driver: ...
    def debug_event(self, name: str) -> None: ...
    async def pass_write(
        self, offset: int, data: bytes | memoryview, most: int, *, fua: bool
    ) -> None: ...
    async def pass_zeroes(
        self, offset: int, length: int, may_unmap: bool, no_fallback: bool
    ) -> None: ...


def _chain(before: Waiter, after: Waiter) -> None:
    """Wake `after`, and whoever was to be woken already, when `before` is."""
    earlier = before.callback

    def woken() -> None:
        if earlier is not None:
            earlier()
        after.wake()

    before.when_done(woken)


def _pieces(offset: int, length: int, most: int) -> Iterator[tuple[int, int]]:
    while length > 0:
        size = min(length, most)
        yield offset, size
        offset, length = offset + size, length - size


async def read(node: Limited, limits: BlockLimits, offset: int, length: int) -> bytes:
    """Read an area of any alignment, in as many requests as it takes."""
    align = limits.request_alignment
    start = offset // align * align
    end = -(-(offset + length) // align) * align
    most = limits.max_transfer or REQUEST_MAX_BYTES
    parts = [await node.driver.pread(at, size) for at, size in _pieces(start, end - start, most)]
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return data if start == offset and end == offset + length else data[offset - start :][:length]


async def write(
    node: Limited, limits: BlockLimits, offset: int, data: bytes | memoryview, *, fua: bool
) -> None:
    """Write an area of any alignment: what surrounds it is read and written again."""
    align = limits.request_alignment
    length = len(data)
    start, end = offset // align * align, -(-(offset + length) // align) * align
    area = await node.tracker.begin(start, end)
    try:
        if start != offset or end != offset + length:
            head, tail = await _around(node, limits, start, end, offset, length)
            data = head + bytes(data) + tail
        await node.pass_write(start, data, limits.max_transfer or REQUEST_MAX_BYTES, fua=fua)
    finally:
        node.tracker.end(area)


async def _around(
    node: Limited, limits: BlockLimits, start: int, end: int, offset: int, length: int
) -> tuple[bytes, bytes]:
    """What is around an area in its first and its last block; one read does if these are all."""
    align = limits.request_alignment
    head, tail, size = offset - start, end - offset - length, end - start
    at_once = size == (2 * align if size > align and head and tail else align)
    before, behind = b"", b""
    if head or at_once:
        both = tail > 0 and at_once
        _tell(node, "pwritev_rmw_head", head > 0, "pwritev_rmw_tail", both)
        block = await read(node, limits, start, size if at_once else align)
        _tell(node, "pwritev_rmw_after_head", head > 0, "pwritev_rmw_after_tail", both)
        before = block[:head]
        if at_once:
            return before, block[size - tail :]
    if tail:
        node.debug_event("pwritev_rmw_tail")
        block = await read(node, limits, end - align, align)
        node.debug_event("pwritev_rmw_after_tail")
        behind = block[align - tail :]
    return before, behind


def _tell(node: Limited, first: str, has_first: bool, second: str, has_second: bool) -> None:
    if has_first:
        node.debug_event(first)
    if has_second:
        node.debug_event(second)


async def write_zeroes(
    node: Limited,
    limits: BlockLimits,
    offset: int,
    length: int,
    *,
    may_unmap: bool,
    no_fallback: bool,
) -> None:
    """Zero an area: a partial block at either end is written, the middle zeroed."""
    align = limits.request_alignment
    start, end = offset // align * align, -(-(offset + length) // align) * align
    if start == offset and end == offset + length:
        await node.pass_zeroes(offset, length, may_unmap, no_fallback)
        return
    most = limits.max_transfer or REQUEST_MAX_BYTES
    area = await node.tracker.begin(start, end)
    try:
        head, tail = await _around(node, limits, start, end, offset, length)
        if end - start <= align * (2 if head and tail else 1):
            await node.pass_write(start, head + bytes(length) + tail, most, fua=False)
            return
        if head:
            await node.pass_write(start, head + bytes(align - len(head)), most, fua=False)
            start += align
        middle = end - start - (align if tail else 0)
        if middle:
            await node.pass_zeroes(start, middle, may_unmap, no_fallback)
        if tail:
            await node.pass_write(end - align, bytes(align - len(tail)) + tail, most, fua=False)
    finally:
        node.tracker.end(area)


async def write_aligned_zeroes(
    node: Limited,
    limits: BlockLimits,
    offset: int,
    length: int,
    *,
    may_unmap: bool,
    no_fallback: bool,
) -> None:
    """Zero an area, cut where the driver wants it; parts it cannot zero are written.

    :raises BlockIOError: the driver fails, or cannot and `no_fallback` is set
    """
    align = max(limits.pwrite_zeroes_alignment, limits.request_alignment)
    most = (limits.max_pwrite_zeroes or REQUEST_MAX_BYTES) // align * align
    transfer = limits.max_transfer or REQUEST_MAX_BYTES
    if no_fallback and not node.driver.zeroes_without_fallback():
        raise BlockIOError(errno.ENOTSUP)
    end = offset + length
    while offset < end:
        size = end - offset
        if offset % align:
            size = min(size, transfer, align - offset % align)
        elif size > align:
            size -= size % align
        size = min(size, most)
        try:
            if no_fallback:
                await node.driver.zero_fast(offset, size, may_unmap=may_unmap)
            else:
                await node.driver.pwrite_zeroes(offset, size, may_unmap=may_unmap)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP or no_fallback:
                raise
            size = min(size, transfer)
            await node.driver.pwrite(offset, bytes(size))
        offset += size


async def discard(node: Limited, limits: BlockLimits, offset: int, length: int) -> None:
    """Discard an area, cut where the driver wants it; parts that it cannot discard stay.

    :raises BlockIOError: the driver fails
    """
    request = limits.request_alignment
    align = max(limits.pdiscard_alignment, request)
    most = limits.max_pdiscard // align * align if limits.max_pdiscard else (1 << 63) - 1
    end = offset + length
    while offset < end:
        size = end - offset
        if offset % align:
            size = min(size, align - offset % align)
            if size % request:
                size %= request
        elif end % align:
            tail = end % align
            if size > align:
                size -= tail
            elif tail % request and tail > request:
                size -= tail % request
        size = min(size, most)
        try:
            await node.driver.pdiscard(offset, size)
        except BlockIOError as error:
            unaligned = offset % request or size % request
            if error.errno != errno.ENOTSUP and not (error.errno == errno.EINVAL and unaligned):
                raise
        offset += size


def alignments(own: Alignments | None, below: list[Alignments]) -> Alignments:
    """Those of a node: its driver's, as far as it has any, else of what it stands on.

    :param own: its driver's; 0 for none
    """
    least = [own or Alignments(0, 0), *below]
    memory = max(found.memory for found in least)
    if own is not None and own.discard:
        return Alignments(own.discard, memory or SECTOR, own.request)
    request = own.request if own is not None else 0
    return Alignments(max(found.discard for found in least), memory or SECTOR, request)


def merged(own: BlockLimits | None, below: list[BlockLimits]) -> BlockLimits | None:
    """The limits of a node: its driver's, and the longest transfer of what it stands on."""
    transfers = [limits.max_transfer for limits in below if limits.max_transfer]
    if own is not None and own.max_transfer:
        transfers.append(own.max_transfer)
    if not transfers:
        return own
    own = BlockLimits() if own is None else own
    return BlockLimits(
        own.request_alignment,
        min(transfers),
        own.pwrite_zeroes_alignment,
        own.max_pwrite_zeroes,
        own.pdiscard_alignment,
        own.max_pdiscard,
    )

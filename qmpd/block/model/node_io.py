"""Reading and writing a node: the generic part of all I/O.

A request goes through here to the driver and, on its way back, marks the dirty
bitmaps, whether it succeeded or not.  Nothing here suspends unless the driver does.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from qmpd.base.newest_first import NewestFirst
from qmpd.base.sizes import SECTOR
from qmpd.block.model import limits
from qmpd.block.model.copy_on_read import read_copying
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.limits import BlockLimits, RequestTracker
from qmpd.block.permission_bits import COW, DATA, FILTERED, WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError
from qmpd.loop.clock import Waiter

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.model.data import Above, Below, Data
    from qmpd.block.model.flags import CacheMode, NodeFlags
    from qmpd.block.model.services import Services

MAXIMUM_LENGTH: Final = (2**63 - 1) & ~((1 << 30) - 1)
"""Longest node, bytes (QEMU's BDRV_MAX_LENGTH)."""

_INHERITED: Final = DATA | FILTERED | COW
_BOUNCE: Final = 1 << 20
_ZEROES: Final = memoryview(bytes(_BOUNCE))


class NodeIO:
    """What a node needs to be read and written; `Node` adds its place in the graph."""

    driver: Data
    children: Mapping[str, Below]
    parents: Sequence[Above]
    node_name: str

    def __init__(self, services: Services, flags: NodeFlags) -> None:
        self.services = services
        self.bitmaps: NewestFirst[DirtyBitmap] = NewestFirst()
        """Its dirty bitmaps, the newest first."""
        self.flags = flags
        self.length = 0
        self.write_threshold = 0
        self.wr_highest_offset = 0
        self.in_flight = 0
        self.quiesce_counter = 0
        self._write_generation = 0
        self._flushed_generation = 0
        self._idle: list[Waiter] = []
        self.limits: BlockLimits | None = None
        """What its driver can take in one request; None for anything."""
        self.tracker = RequestTracker()
        self.copy_on_read = 0
        """How many want what is read from below to be kept here."""

    # Its flags

    @property
    def read_only(self) -> bool:
        """Whether it may not be written."""
        return self.flags.read_only

    @property
    def active(self) -> bool:
        """Whether it has not been given up to another process (blockdev-set-active)."""
        return self.flags.active

    @property
    def unmap(self) -> bool:
        """Whether discards are passed on (discard=unmap)."""
        return self.flags.unmap

    @property
    def detect_zeroes(self) -> str:
        """What is done about writes of zeroes: off, on or unmap."""
        return self.flags.detect_zeroes

    @property
    def cache(self) -> CacheMode:
        """How host caches are used."""
        return self.flags.cache

    # Reading

    async def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes; what lies behind the end reads as zeroes.

        :raises BlockIOError: the driver fails, or no node can be that long
        """
        inside = min(length, max(0, self.length - offset))
        if inside != length or offset < 0:
            _check_request(offset, length)
            if not inside:
                return bytes(length)
        self.in_flight += 1
        try:
            if self.limits is not None or self.copy_on_read:
                data = await self._read_specially(offset, inside)
            else:
                data = await self.driver.pread(offset, inside)
        finally:
            self.request_ended()
        return data if inside == length else data + bytes(length - inside)

    def begin_read(self) -> bool:
        """Begin a read for which the driver may be asked directly; end it with `request_ended`.

        This is how a driver reads through a chain of nodes without a call of `pread` within
        another for each of them.

        :returns: False where it may not, nothing has begun, and only `pread` will do: the
            request must be cut or aligned, or what it reads is to be kept here
        """
        if self.limits is not None or self.copy_on_read:
            return False
        self.in_flight += 1
        return True

    async def _read_specially(self, offset: int, length: int) -> bytes:
        if self.copy_on_read:
            return await read_copying(self, offset, length)
        assert self.limits is not None
        return await limits.read(self, self.limits, offset, length)

    async def pread_copying(self, offset: int, length: int, *, prefetch: bool = False) -> bytes:
        """Read, and keep here what comes from below; see `read_copying`."""
        _check_request(offset, length)
        self.in_flight += 1
        try:
            return await read_copying(self, offset, length, prefetch=prefetch)
        finally:
            self.request_ended()

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """What the area from `offset` holds; cut at the end of the node, length 0 there."""
        if offset >= self.length:
            return BlockStatus(0, data=False, zero=True, allocated=False)
        return await self.driver.block_status(offset, min(length, self.length - offset))

    async def is_allocated(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether this node, not its backing, holds the area, and for how many bytes."""
        status = await self.block_status(offset, length)
        return status.allocated, status.length

    def round_to_subclusters(self, offset: int, length: int) -> tuple[int, int]:
        """The area grown to whole units of allocation."""
        size = self.driver.subcluster_size() or 1
        start = offset // size * size
        return start, -(-(offset + length) // size) * size - start

    # Writing

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write `data`; behind the end too, where the driver lets the node grow.

        :raises BlockIOError: refused (read-only, or a bitmap here is) or failed
        """
        length = len(data)
        self._check_write(offset, length)
        self.in_flight += 1
        try:
            if self.limits is not None:
                await limits.write(self, self.limits, offset, data, fua=fua)
            else:
                await self.pass_write(offset, data, length, fua=fua)
        finally:
            self.request_ended()

    async def pass_write(
        self, offset: int, data: bytes | memoryview, most: int, *, fua: bool
    ) -> None:
        """Have the driver write `data`, up to `most` bytes at a time; the last with `fua`."""
        length = len(data)
        if (
            self.flags.detect_zeroes != "off"
            and self.driver.capabilities.write_zeroes
            and bytes(data) == bytes(length)
        ):
            await self.pass_zeroes(offset, length, self.detect_zeroes == "unmap", False)
            if fua:
                await self._flush_own()
            return
        self._begin_area(offset, length, "pwritev")
        done = False
        try:
            if length <= most:
                await self.driver.pwrite(offset, data, fua=fua)
            else:
                view = memoryview(data)
                for start in range(0, length, most):
                    last = start + most >= length
                    await self.driver.pwrite(
                        offset + start, view[start : start + most], fua=fua and last
                    )
            done = True
        finally:
            self._end_area(offset, length, done)

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data` compressed.

        :raises BlockIOError: ENOTSUP where the driver cannot
        """
        self._check_write(offset, len(data))
        self.in_flight += 1
        self._begin_area(offset, len(data))
        done = False
        try:
            if not self.driver.can_write_compressed():
                raise BlockIOError(errno.ENOTSUP)
            await self.driver.pwrite_compressed(offset, data)
            done = True
        finally:
            self._end_area(offset, len(data), done)
            self.request_ended()

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        fua: bool = False,
        no_fallback: bool = False,
    ) -> None:
        """Make an area read as zeroes.

        :param may_unmap: its space may be given back, if the node was opened with discard=unmap
        :param no_fallback: fail with ENOTSUP rather than write zeroes byte by byte
        """
        self._check_write(offset, length)
        self.in_flight += 1
        try:
            if self.limits is not None:
                await limits.write_zeroes(
                    self,
                    self.limits,
                    offset,
                    length,
                    may_unmap=may_unmap,
                    no_fallback=no_fallback,
                )
            else:
                await self.pass_zeroes(offset, length, may_unmap, no_fallback)
            if fua:
                await self._flush_own()
        finally:
            self.request_ended()

    async def pass_zeroes(
        self, offset: int, length: int, may_unmap: bool, no_fallback: bool
    ) -> None:
        """Have the driver zero an area that is aligned as it wants it."""
        self._begin_area(offset, length, "pwritev_zero")
        done = False
        try:
            await self._zeroes(offset, length, may_unmap and self.unmap, no_fallback)
            done = True
        finally:
            self._end_area(offset, length, done)

    async def _zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        if self.limits is not None:
            await limits.write_aligned_zeroes(
                self,
                self.limits,
                offset,
                length,
                may_unmap=may_unmap,
                no_fallback=no_fallback,
            )
            return
        if no_fallback and not self.driver.zeroes_without_fallback():
            raise BlockIOError(errno.ENOTSUP)
        try:
            await self.driver.pwrite_zeroes(offset, length, may_unmap=may_unmap)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP or no_fallback:
                raise
            for start in range(0, length, _BOUNCE):
                piece = min(_BOUNCE, length - start)
                await self.driver.pwrite(offset + start, _ZEROES[:piece])

    async def pdiscard(self, offset: int, length: int) -> None:
        """Say that an area is no longer needed.

        Nothing happens, and nothing is marked, unless the node was opened with
        discard=unmap and its driver has discards.
        """
        if self.bitmaps and any(bitmap.readonly for bitmap in self.bitmaps):
            raise BlockIOError(errno.EPERM)
        _check_request(offset, length)
        if not self.unmap or not self.driver.capabilities.discard or not length:
            return
        self._check_write(offset, length)
        self.in_flight += 1
        self._begin_area(offset, length)
        try:
            if self.limits is not None:
                await limits.discard(self, self.limits, offset, length)
            else:
                await self.driver.pdiscard(offset, length)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP:
                raise
        finally:
            self._write_generation += 1
            self._mark(offset, length)
            self.request_ended()

    async def flush(self) -> None:
        """Make what was written stable, here and below; with no-flush, as far as the host's cache.

        :raises BlockIOError: that of the node nearest to this one
        """
        if self.read_only:
            return
        self.in_flight += 1
        try:
            await self._flush_own()
        finally:
            self.request_ended()

    async def _flush_own(self) -> None:
        await self.driver.flush()
        if self.driver.capabilities.flushes_children:
            return
        generation = self._write_generation
        if not self.cache.no_flush and self._flushed_generation != generation:
            await self.driver.flush_to_disk()
            self._flushed_generation = generation
        failure: BlockIOError | None = None
        for edge in list(self.children.values()):
            if edge.perm & (WRITE | WRITE_UNCHANGED):
                try:
                    await edge.node.flush()
                except BlockIOError as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    # Length

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length; bitmaps follow.

        :param exact: it must be exactly `size` bytes, not just long enough
        :param prealloc: PreallocMode of the area that is added
        :raises BlockIOError: with QEMU's text
        """
        if size < 0:
            raise BlockIOError(errno.EINVAL, "Image size cannot be negative")
        if size > MAXIMUM_LENGTH:
            raise BlockIOError(errno.EIO, f"offset({size}) exceeds maximum({MAXIMUM_LENGTH})")
        if self.read_only:
            raise BlockIOError(errno.EACCES, "Image is read-only")
        self.in_flight += 1
        try:
            await self.driver.truncate(size, exact=exact, prealloc=prealloc)
            self.refresh_length()
        finally:
            self._write_generation += 1
            self.request_ended()
        self._resized()

    def _resized(self) -> None:
        """Its length is another one: tell what depends on it."""
        for bitmap in self.bitmaps:
            bitmap.resize(self.length)
        for edge in self.parents:
            if edge.user is not None:
                edge.user.node_resized()

    def refresh_length(self) -> None:
        """Ask the driver for the length anew; a node ends at a full sector.

        :raises BlockIOError: it is too long
        """
        length = self.driver.get_length()
        if length > MAXIMUM_LENGTH:
            raise BlockIOError(errno.EFBIG, "Could not refresh total sector count: File too large")
        self.length = -(-length // SECTOR) * SECTOR

    # Around requests

    def debug_event(self, name: str) -> None:
        """A point of interest in a driver above was reached (blkdebug listens to these)."""
        self.driver.debug_event(name)

    @property
    def request_alignment(self) -> int:
        """Bytes to which requests are best aligned."""
        return 1 if self.limits is None else self.limits.request_alignment

    def refresh_limits(self) -> None:
        """Ask the driver, and what it stands on, anew what a request may be."""
        below = [edge.node.limits for edge in self.children.values() if edge.role & _INHERITED]
        own = self.driver.limits()
        self.limits = limits.merged(own, [found for found in below if found is not None])

    def _check_write(self, offset: int, length: int) -> None:
        """Checks before a write, or a discard that is passed on."""
        _check_request(offset, length)
        if self.bitmaps and any(bitmap.readonly for bitmap in self.bitmaps):
            raise BlockIOError(errno.EPERM)
        flags = self.flags
        if flags.read_only or not flags.active:
            raise BlockIOError(errno.EPERM)

    def _begin_area(self, offset: int, length: int, event: str | None = None) -> None:
        """The driver is about to write an area, or to discard it; `event` is for blkdebug."""
        end = offset + length
        if self.write_threshold and end > self.write_threshold:
            threshold, self.write_threshold = self.write_threshold, 0
            self.services.emit(
                "BLOCK_WRITE_THRESHOLD",
                {
                    "node-name": self.node_name,
                    "amount-exceeded": end - threshold,
                    "write-threshold": threshold,
                },
            )
        if event is not None and self.driver.capabilities.hears_events:
            self.driver.debug_event(event)

    def _end_area(self, offset: int, length: int, done: bool) -> None:
        if self.driver.capabilities.hears_events:
            self.driver.debug_event("pwritev_done")
        self._write_generation += 1
        end = offset + length
        if end > self.length and done:
            self.length = -(-end // SECTOR) * SECTOR
            self._resized()
        if length:
            if end > self.wr_highest_offset:
                self.wr_highest_offset = end
            self._mark(offset, length)

    def _mark(self, offset: int, length: int) -> None:
        for bitmap in self.bitmaps:
            bitmap.mark(offset, length)

    def request_ended(self) -> None:
        """A request that was counted in `in_flight` has ended."""
        self.in_flight -= 1
        if self._idle and not self.in_flight:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.wake()

    async def wait_idle(self) -> None:
        """Wait until no request is under way in this node."""
        while self.in_flight:
            waiter = Waiter()
            self._idle.append(waiter)
            await waiter


def _check_request(offset: int, length: int) -> None:
    """Refuse what no node can hold; tables of damaged images lead there.

    :raises BlockIOError: EIO
    """
    if offset < 0 or offset + length > MAXIMUM_LENGTH:
        raise BlockIOError(errno.EIO)

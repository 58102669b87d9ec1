"""Reading and writing a node: the generic part of all I/O.

A request goes through here to the driver and, on its way back, marks the dirty
bitmaps, whether it succeeded or not.  Nothing here suspends unless the driver does.
Where there is no memory for a request, it fails (ENOMEM).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from qmpd.block.model import limits
from qmpd.block.model.copy_on_read import read_copying
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.node_flush import NodeFlush
from qmpd.block.model.node_state import MAXIMUM_LENGTH, check_request
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.data import Piece
    from qmpd.block.model.status_map import StatusMap

_BOUNCE: Final = 1 << 20
_ZEROES: Final = memoryview(bytes(_BOUNCE))


class NodeIO(NodeFlush):
    """What a node does with requests; `Node` adds its place in the graph."""

    # Reading

    async def pread(self, offset: int, length: int) -> bytes:
        """Read `length` bytes; what lies behind the end reads as zeroes.

        :raises BlockIOError: the driver fails, or no node can be that long
        """
        inside = min(length, max(0, self.length - offset))
        if inside != length or offset < 0:
            check_request(offset, length)
            if not inside:
                return bytes(length)
        self.in_flight += 1
        try:
            if self.limits is not None or self.copy_on_read:
                data = await self._read_specially(offset, inside)
            else:
                data = await self.driver.pread(offset, inside)
        except MemoryError:
            raise self.no_memory() from None
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
        check_request(offset, length)
        self.in_flight += 1
        try:
            return await read_copying(self, offset, length, prefetch=prefetch)
        except MemoryError:
            raise self.no_memory() from None
        finally:
            self.request_ended()

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """What the area from `offset` holds; cut at the end of the node, length 0 there."""
        if offset >= self.length:
            return BlockStatus(0, data=False, zero=True, allocated=False)
        return await self.driver.block_status(offset, min(length, self.length - offset))

    async def status_map(self, offset: int, length: int) -> StatusMap | None:
        """What an area inside the node holds, or the first part of it; None: ask `block_status`."""
        if offset + length > self.length:
            return None
        return await self.driver.status_map(offset, length)

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
        self.check_write(offset, length)
        self.in_flight += 1
        try:
            if self.limits is not None:
                await limits.write(self, self.limits, offset, data, fua=fua)
            else:
                await self.pass_write(offset, data, length, fua=fua)
        except MemoryError:
            raise self.no_memory() from None
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
            and await self._are_zeroes(data)
        ):
            await self.pass_zeroes(
                offset, length, self.unmap and self.detect_zeroes == "unmap", False
            )
            if fua:
                await self._flush_own()
            return
        self.begin_area(offset, length, "pwritev")
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
            self.end_area(offset, length, done)

    async def _are_zeroes(self, data: bytes | memoryview) -> bool:
        for start in range(0, len(data), _BOUNCE):
            part = bytes(data[start : start + _BOUNCE])
            if part != bytes(len(part)):
                return False
            if start:
                await self.services.loop.completions.rest()
        return True

    async def pwrite_piece(self, offset: int, data: Piece) -> None:
        """Write what nobody has to see; see `DriverInterface.data_node`.

        :raises BlockIOError: refused, or reading or writing it has failed
        """
        length = len(data)
        self.check_write(offset, length)
        self.in_flight += 1
        self.begin_area(offset, length, "pwritev")
        done = False
        try:
            await self.driver.pwrite_piece(offset, data)
            done = True
        except MemoryError:
            raise self.no_memory() from None
        finally:
            self.end_area(offset, length, done)
            self.request_ended()

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data` compressed.

        :raises BlockIOError: ENOTSUP where the driver cannot
        """
        self.check_write(offset, len(data))
        self.in_flight += 1
        self.begin_area(offset, len(data))
        done = False
        try:
            if not self.driver.capabilities.write_compressed:
                raise BlockIOError(errno.ENOTSUP)
            await self.driver.pwrite_compressed(offset, data)
            done = True
        except MemoryError:
            raise self.no_memory() from None
        finally:
            self.end_area(offset, len(data), done)
            self.request_ended()

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        fua: bool = False,
        no_fallback: bool = False,
        of_backend: bool = False,
    ) -> None:
        """Make an area read as zeroes.

        :param may_unmap: its space may be given back, if the node was opened with discard=unmap
        :param no_fallback: fail with ENOTSUP rather than write zeroes byte by byte
        :param of_backend: whether a backend asks, and not a node above
        """
        self.check_write(offset, length)
        if may_unmap and not self.unmap:
            may_unmap = of_backend and self.services.manners.backends_unmap
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
        except MemoryError:
            raise self.no_memory() from None
        finally:
            self.request_ended()

    async def pass_zeroes(
        self, offset: int, length: int, may_unmap: bool, no_fallback: bool
    ) -> None:
        """Have the driver zero an area that is aligned as it wants it."""
        self.begin_area(offset, length, "pwritev_zero")
        done = False
        try:
            await self._zeroes(offset, length, may_unmap, no_fallback)
            done = True
        finally:
            self.end_area(offset, length, done)

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
            if no_fallback:
                await self.driver.zero_fast(offset, length, may_unmap=may_unmap)
            else:
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
        if self.bitmaps.by_age and any(bitmap.readonly for bitmap in self.bitmaps):
            raise BlockIOError(errno.EPERM)
        check_request(offset, length)
        if not self.unmap or not self.driver.capabilities.discard or not length:
            return
        self.check_write(offset, length)
        self.in_flight += 1
        self.begin_area(offset, length)
        try:
            if self.limits is not None:
                await limits.discard(self, self.limits, offset, length)
            else:
                await self.driver.pdiscard(offset, length)
        except BlockIOError as error:
            if error.errno != errno.ENOTSUP:
                raise
        except MemoryError:
            raise self.no_memory() from None
        finally:
            self._write_generation += 1
            self._mark(offset, length)
            self.request_ended()

    # Length

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length; bitmaps follow.

        :param exact: it must be exactly `size` bytes, not just long enough
        :param prealloc: PreallocMode of the area that is added
        :raises BlockIOError: with QEMU's text
        """
        if self.driver.gone:
            raise BlockIOError(errno.ENOMEDIUM, "No medium inserted")
        if size < 0 or size >= 1 << 63:
            raise BlockIOError(errno.EINVAL, "Image size cannot be negative")
        if size > MAXIMUM_LENGTH and self.services.manners.lengths_are_limited:
            raise BlockIOError(errno.EIO, f"offset({size}) exceeds maximum({MAXIMUM_LENGTH})")
        if self.read_only:
            raise BlockIOError(errno.EACCES, "Image is read-only")
        self.in_flight += 1
        self.has_followed = False
        try:
            await self.driver.truncate(size, exact=exact, prealloc=prealloc)
            self.refresh_length()
        finally:
            self._write_generation += 1
            self.request_ended()
        if not self.has_followed:
            self._resized()

"""Copying what a bitmap says from one node to another, cluster by cluster.

A copy-before-write filter and a backup job share one `BlockCopyState`: whoever comes first
takes a dirty area out of the bitmap and copies it; others that need it wait until it is done.
`qmpd.block.io.block_copy_call` copies ranges by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.rules import merge_one
from qmpd.block.io.chain_status import block_status_above
from qmpd.block.io.straight import copy
from qmpd.block.model.completed import completed
from qmpd.block.model.failure import failure_of
from qmpd.errors import BlockIOError, GenericError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.io.progress import ProgressMeter
    from qmpd.block.model.data import BlockStatus
    from qmpd.block.model.node import Node

DEFAULT_CLUSTER: Final = 65536
"""Bytes that are copied together where the target does not say."""

_INT64_MAX: Final = (1 << 63) - 1

MAX_CHUNK: Final = 1 << 20
"""Bytes that are copied by one request."""


class CopyFailed(BlockIOError):
    """A request of a copy failed; `is_read` tells whether it was a read."""

    def __init__(self, error: BlockIOError, *, is_read: bool) -> None:
        super().__init__(error.errno, error.desc)
        self.is_read = is_read


class Area:
    """What one request copies."""

    __slots__ = ("_waiters", "end", "start", "zero")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.zero = False
        self._waiters: list[Waiter] = []

    async def ended(self) -> None:
        """Wait until it is copied, or has failed."""
        waiter = Waiter()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Let those go on that wait for it."""
        for waiter in self._waiters:
            waiter.wake()


class BlockCopyState:
    """What is left to copy from `source` to `target`.

    :param source: the node that is read
    :param target: the node that is written
    :param bitmap: what is to be copied; None for everything
    :param min_cluster_size: bytes, a power of two; 0 for what fits the target
    :param compress: write compressed
    :param discard_source: discard in the source what has been copied
    :param progress: told of what is done and what is left, in bytes
    :raises GenericError: the cluster size is no power of two, or the bitmap is not fit

    `copy_bitmap` has the areas that nobody has copied or is copying.  `skip_unallocated`: what
    the source has from its backing file is passed over.
    """

    def __init__(
        self,
        source: Node,
        target: Node,
        bitmap: DirtyBitmap | None = None,
        *,
        min_cluster_size: int = 0,
        compress: bool = False,
        discard_source: bool = False,
        progress: ProgressMeter | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.length = source.length
        self.cluster_size = copy_cluster_size(target, min_cluster_size)
        self.copy_bitmap = DirtyBitmap(self.length, self.cluster_size, enabled=False)
        if bitmap is None:
            self.copy_bitmap.set(0, self.length)
        else:
            try:
                merge_one(self.copy_bitmap, bitmap)
            except GenericError as error:
                raise error.prefixed(
                    f"Failed to merge bitmap '{bitmap.name}' to internal copy-bitmap: "
                ) from error
        self.skip_unallocated = False
        self.compress = compress
        self.discard_source = discard_source
        self.progress = progress
        self.in_flight = 0
        """Bytes that are being copied."""
        self._areas: list[Area] = []
        limits = [n.limits.max_transfer for n in (source, target) if n.limits is not None]
        self._most = min([transfer for transfer in limits if transfer], default=1 << 31)

    def _chunk(self, max_chunk: int) -> int:
        if self.compress or self._most < self.cluster_size:
            chunk = self.cluster_size
        else:
            chunk = min(max(self.cluster_size, MAX_CHUNK), self._most)
        return min(chunk, max_chunk) if max_chunk else chunk

    def reset(self, offset: int, length: int) -> None:
        """Have an area, of whole clusters, not copied."""
        self.copy_bitmap.reset(offset, length)
        self._tell_remaining()

    def _tell_remaining(self) -> None:
        if self.progress is not None:
            self.progress.set_remaining(self.copy_bitmap.count + self.in_flight)

    async def reset_unallocated(self, offset: int) -> tuple[int, bool]:
        """Take a run of clusters that the source itself has not got out of the bitmap.

        :returns: bytes of the run, and whether the source has them
        """
        allocated, length = await self._is_cluster_allocated(offset)
        length = min(length, self.length - offset)
        if not allocated:
            self.copy_bitmap.reset(offset, length)
            self._tell_remaining()
        return length, allocated

    async def _is_cluster_allocated(self, offset: int) -> tuple[bool, int]:
        """Whether the source itself holds anything of the clusters from `offset` on."""
        total = 0
        left = self.length - offset
        cluster = self.cluster_size
        while True:
            allocated, count = await self.source.is_allocated(offset, left)
            if allocated or count == left:
                clusters = -(-(total + count) // cluster)
                break
            total += count
            if total >= cluster:
                clusters = total // cluster
                break
            offset, left = offset + count, left - count
        return allocated, clusters * cluster

    # Areas

    async def wait_for_one(self, offset: int, length: int) -> bool:
        """Wait for an area of the range that somebody copies; returns whether there is one."""
        for area in self._areas:
            if area.start < offset + length and offset < area.end:
                await area.ended()
                return True
        return False

    async def take(self, offset: int, end: int, max_chunk: int) -> Area | None:
        """Take the next dirty area out of the bitmap; None when there is none."""
        start = self.copy_bitmap.next_dirty(offset)
        if start is None or start >= end:
            return None
        clean = self.copy_bitmap.next_clean(start)
        whole = min(end, self.length if clean is None else clean)
        whole = -(-whole // self.cluster_size) * self.cluster_size
        area = Area(start, min(whole, start + self._chunk(max_chunk)))
        self._claim(area)
        try:
            await self._look(area, whole if not max_chunk else area.end)
        except BaseException:
            self.give_back(area, failed=True)
            raise
        return area

    def _claim(self, area: Area) -> None:
        self.copy_bitmap.reset(area.start, area.end - area.start)
        self.in_flight += area.end - area.start
        self._areas.append(area)

    def _resize(self, area: Area, end: int) -> None:
        if end < area.end:
            self.copy_bitmap.set(end, area.end - end)
        else:
            self.copy_bitmap.reset(area.end, end - area.end)
        self.in_flight += end - area.end
        area.end = end

    async def _look(self, area: Area, most: int) -> None:
        """Cut `area` where what it holds changes; zeroes are taken whole, up to `most`."""
        cluster = self.cluster_size
        base = self.source.backing_chain_next if self.skip_unallocated else None
        length = area.end - area.start
        try:
            status = await block_status_above(self.source, base, area.start, length)
            if status.length == length and (status.zero or self._skips(status)):
                status = await block_status_above(self.source, base, area.start, most - area.start)
        except BlockIOError:
            self._resize(area, area.start + cluster)
            return
        count = status.length
        if area.start + count >= self.length:
            count = -(-count // cluster) * cluster
        elif count < cluster:
            self._resize(area, area.start + cluster)
            return
        else:
            count -= count % cluster
        skipped = self._skips(status)
        if status.zero or skipped:
            area.zero = status.zero and not skipped
            self._resize(area, min(most, area.start + count))
            if skipped:
                self._skip(area)
        elif area.start + count < area.end:
            self._resize(area, area.start + count)

    def _skips(self, status: BlockStatus) -> bool:
        return self.skip_unallocated and not status.allocated

    def _skip(self, area: Area) -> None:
        self.give_back(area, failed=False)
        area.start = area.end

    def give_back(self, area: Area, *, failed: bool) -> None:
        """`area` is copied, or not; others may have it now."""
        if area not in self._areas:
            return
        length = area.end - area.start
        self.in_flight -= length
        if failed:
            self.copy_bitmap.set(area.start, length)
        self._areas.remove(area)
        self._tell_remaining()
        area.wake()

    async def copy_area(self, area: Area) -> None:
        """Copy an area that was taken.

        :raises CopyFailed: reading or writing failed
        """
        offset, length = area.start, min(area.end, self.length) - area.start
        failure: CopyFailed | None = None
        is_read = True

        def has_read() -> None:
            nonlocal is_read
            is_read = False

        try:
            if area.zero:
                has_read()
                await completed(self.target, self.target.pwrite_zeroes(offset, length), length)
            elif not self.compress:
                await copy(self.source, self.target, offset, length, has_read)
            else:
                data = await completed(self.source, self.source.pread(offset, length), length)
                has_read()
                write = self.target.pwrite_compressed(offset, data)
                await completed(self.target, write, length)
        except Exception as error:
            loop = self.source.services.loop
            failure = CopyFailed(failure_of(error, loop), is_read=is_read)
        if failure is not None:
            raise failure
        if self.discard_source:
            await completed(self.source, self.source.pdiscard(offset, length))


def copy_cluster_size(target: Node, minimum: int) -> int:
    """Bytes that are copied together: at least a cluster of the target.

    :raises GenericError: `minimum` is no power of two
    """
    minimum %= 1 << 64
    if minimum > _INT64_MAX:
        raise GenericError(f"min-cluster-size too large: {minimum} > {_INT64_MAX}")
    if minimum & (minimum - 1):
        raise GenericError("min-cluster-size needs to be a power of 2")
    if not target.driver.has_info():
        if target.backing_chain_next is None:
            target.services.say.report(
                "warning: The target block device doesn't provide information about the block size"
                " and it doesn't have a backing file. The (default) block size of"
                f" {DEFAULT_CLUSTER} bytes is used. If the actual block size of the target exceeds"
                " this value, the backup may be unusable"
            )
        return max(minimum, DEFAULT_CLUSTER)
    return max(minimum, DEFAULT_CLUSTER, target.driver.cluster_size() or 0)

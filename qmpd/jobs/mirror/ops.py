"""The requests of a mirror in flight, and how they wait for each other."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap64

from qmpd.loop.task import Waiter


class MirrorOp:
    """One request of a mirror.

    :param offset: start of its area, bytes
    :param length: bytes
    :param is_pseudo: it only claims an area until the real requests are started
    :param is_active: a guest's write that the job passes on to the target
    """

    __slots__ = ("_queue", "is_active", "is_pseudo", "length", "offset", "waits_for")

    def __init__(
        self, offset: int, length: int, *, is_pseudo: bool = False, is_active: bool = False
    ) -> None:
        self.offset = offset
        self.length = length
        self.is_pseudo = is_pseudo
        self.is_active = is_active
        self.waits_for: MirrorOp | None = None
        self._queue: list[Waiter] = []

    async def ended(self) -> None:
        """Wait until it has ended."""
        waiter = Waiter()
        self._queue.append(waiter)
        await waiter

    def end(self) -> None:
        """Wake those that wait for it."""
        queue, self._queue = self._queue, []
        for waiter in queue:
            waiter.wake()


class InFlight:
    """All requests of one mirror.

    :param granularity: bytes of a chunk, the unit in which areas are claimed
    :param buffers: how many chunks may be in memory at a time
    """

    def __init__(self, granularity: int, buffers: int) -> None:
        self.granularity = granularity
        self.free_buffers = buffers
        self.count = 0
        self.length = 0
        """Bytes that the job's own requests are copying."""
        self.active_length = 0
        """Bytes that guests' writes are copying."""
        self._ops: list[MirrorOp] = []
        self._claimed = BitMap64()

    def add(self, op: MirrorOp) -> None:
        """Add `op`."""
        self._ops.append(op)

    def begin(self, op: MirrorOp) -> None:
        """Count `op`, one of the job's own, as started."""
        self.count += 1
        self.length += op.length

    def finish(self, op: MirrorOp, buffers: int) -> None:
        """Count `op`, one of the job's own, as ended, and take its buffers back."""
        self.count -= 1
        self.length -= op.length
        self.free_buffers += buffers
        self.release(op)

    def claim(self, offset: int, length: int) -> None:
        """Claim an area."""
        self._claimed.add_range(*self._chunks(offset, length))

    def is_claimed(self, offset: int) -> bool:
        """Whether the chunk of byte `offset` is claimed."""
        return offset // self.granularity in self._claimed

    def release(self, op: MirrorOp) -> None:
        """Release the area of `op`, which has ended."""
        self._claimed.remove_range(*self._chunks(op.offset, op.length))
        self.drop(op)

    def drop(self, op: MirrorOp) -> None:
        """Remove `op` but not the claim on its area, which real requests have taken over."""
        self._ops.remove(op)
        op.end()

    def chunks_of(self, length: int) -> int:
        """Number of buffers for `length` bytes."""
        return -(-length // self.granularity)

    def _chunks(self, offset: int, length: int) -> tuple[int, int]:
        return offset // self.granularity, -(-(offset + length) // self.granularity)

    async def wait_for_slot(self) -> None:
        """Wait until one of the job's own requests ends."""
        for op in self._ops:
            if not op.is_pseudo and not op.is_active:
                await op.ended()
                return
        raise AssertionError("no request is under way")

    async def wait_for_all(self) -> None:
        """Wait until none of the job's own requests is in flight."""
        while self.count:
            await self.wait_for_slot()

    async def wait_on_conflicts(
        self,
        offset: int,
        length: int,
        *,
        op: MirrorOp | None = None,
        given_up: Callable[[], bool],
    ) -> None:
        """Wait until no other request has claimed any chunk of the area.

        :param op: the request that wants to proceed; it never conflicts with itself
        :param given_up: returns whether to stop waiting
        """
        first, end = self._chunks(offset, length)
        while self._claimed.range_cardinality(first, end) and not given_up():
            other = self._first_conflict(first, end, op)
            if other is None:
                return
            if op is not None:
                op.waits_for = other
            await other.ended()
            if op is not None:
                op.waits_for = None

    def _first_conflict(self, first: int, end: int, op: MirrorOp | None) -> MirrorOp | None:
        for other in self._ops:
            other_first, other_end = self._chunks(other.offset, other.length)
            if other is op or other_first >= end or other_end <= first:
                continue
            # One that waits itself would wait for this one in the end.
            if op is None or other.waits_for is None:
                return other
        return None

"""Writes of a guest in the background: what a seed says, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from qmpd.errors import QmpError
from qmpd.loop.task import Waiter
from qmpd.sim.guests.disk import GuestDisk

if TYPE_CHECKING:
    from qmpd.sim.bench import Bench


class Write(NamedTuple):
    """A write of a workload.

    :param offset: where it began, in bytes
    :param length: its length in bytes
    :param time: nanoseconds of the machine's clock when it had ended
    :param error: why it failed; None if it did not
    """

    offset: int
    length: int
    time: int
    error: str | None


class Workload:
    """Writes of random bytes to random places, the same for the same seed.

    Places are multiples of `size` in the region, so that two writes are about the same bytes or
    have nothing in common.

    :param disk: name of the disk: see `GuestDisk`
    :param writes: how many there are
    :param size: bytes of each
    :param region: where they go: offset and length in bytes; None for the whole disk
    :param interval: nanoseconds of the machine's clock before each
    :raises LookupError: there is no such disk
    :raises ValueError: a number that makes no sense
    """

    def __init__(
        self,
        bench: Bench,
        disk: str,
        seed: int,
        *,
        writes: int,
        size: int,
        region: tuple[int, int] | None,
        interval: int,
    ) -> None:
        self._disk = GuestDisk(bench, disk)
        start, length = (0, self._disk.size()) if region is None else region
        if writes < 0 or interval < 0:
            raise ValueError("writes and interval are not to be negative")
        if size <= 0 or start < 0 or length < size:
            raise ValueError(f"the region ({start}, {length}) has no room for {size} bytes")
        self._bench = bench
        self._random = Random(seed)
        self._count = writes
        self._size = size
        self._start = start
        self._places = length // size
        self._interval = interval
        self._stopped = False
        self._waiting: list[Waiter] = []
        self.seed = seed
        self.disk = disk
        self.done = False
        """Whether it has ended: all is written, it was stopped, or the machine has ended."""
        self.writes: list[Write] = []
        """What it has written so far, in its order."""
        self.blocks: dict[int, bytes] = {}
        """What is on the disk because of it: bytes by their offsets."""

    def start(self) -> None:
        """Begin; the machine's clock does the rest."""
        self._bench.clock.enter(self._run(), f"workload of {self.disk}")

    async def _run(self) -> None:
        bench = self._bench
        machine, clock = bench.machine, bench.clock
        while len(self.writes) < self._count:
            if self._interval:
                await clock.sleep(self._interval)
            else:
                await clock.reschedule()
            if self._stopped or bench.closed or bench.machine is not machine:
                break
            await self._write_one(clock.now)
        self._end()

    async def _write_one(self, now: Callable[[], int]) -> None:
        offset = self._start + self._random.randrange(self._places) * self._size
        data = self._random.randbytes(self._size)
        error = None
        try:
            await self._disk.write(offset, data, fua=False)
        except (QmpError, LookupError) as problem:
            error = str(problem)
        else:
            self.blocks[offset] = data
        self.writes.append(Write(offset, self._size, now(), error))

    def _end(self) -> None:
        self.done = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.wake()

    def stop(self) -> None:
        """Write no more; a write that is under way comes to its end."""
        self._stopped = True
        if not self.done:
            self._end()

    async def wait(self) -> None:
        """Wait until it has ended."""
        if not self.done:
            waiter = Waiter()
            self._waiting.append(waiter)
            await waiter

    async def check(self, disk: str | None = None) -> None:
        """Check that a disk has what was written.

        :param disk: another one that must have it too; the same if absent
        :raises AssertionError: it has something else somewhere
        """
        there = self._disk if disk is None else GuestDisk(self._bench, disk)
        for offset, data in self.blocks.items():
            found = await there.read(offset, len(data))
            if found != data:
                first = next(i for i, (a, b) in enumerate(zip(found, data, strict=True)) if a != b)
                raise AssertionError(
                    f"'{there.name}' has not what seed {self.seed} has written at {offset}: byte"
                    f" {offset + first} is {found[first]:#04x}, not {data[first]:#04x}"
                )

"""Requests that overlap in time: each sleeps in the file, and others go on meanwhile."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters
from qmpd.block.drivers.formats.qcow2.clusters.zero import discard, write_zeroes
from qmpd.block.drivers.formats.qcow2.lock import CoMutex
from qmpd.loop.clock import VirtualClock
from qmpd.loop.task import Cancelled, Task

from .fakes import FileNode, close, create, open_node, run
from .test_image import Model, judge, needs_qemu_img


class SlowFile(FileNode):
    """A file whose requests take a random time."""

    clock: VirtualClock
    choice: random.Random

    async def _wait(self) -> None:
        if self.choice.random() < 0.7:
            await self.clock.sleep(self.choice.randrange(1, 1000))

    async def pread(self, offset: int, length: int) -> bytes:
        await self._wait()
        return await super().pread(offset, length)

    async def pwrite(self, offset: int, data: bytes) -> None:
        await self._wait()
        await super().pwrite(offset, data)
        await self._wait()

    async def flush(self) -> None:
        await self._wait()


@needs_qemu_img
@pytest.mark.parametrize("seed", range(12))
def test_overlapping_requests(tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    path = tmp_path / "a.qcow2"
    cluster = choice.choice([512, 1024, 4096])
    extended = choice.random() < 0.3
    create(path, size=1 << 20, cluster_size=16384 if extended else cluster, extended_l2=extended)
    # A cache of two slices makes tables come and go while they are in use.
    s = open_node(path, {"l2-cache-size": 1024, "l2-cache-entry-size": 512})
    clock = VirtualClock()
    s.file_node.__class__ = SlowFile  # type: ignore[assignment]
    s.file_node.clock, s.file_node.choice = clock, choice  # type: ignore[attr-defined]
    model = Model(bytearray(1 << 20))
    unit = 512
    free = list(range((1 << 20) // unit))
    choice.shuffle(free)
    tasks: list[Task] = []

    def start(coroutine: Any) -> None:
        tasks.append(clock.enter(coroutine, "request", on_done=lambda _: None))

    # Each sector belongs to one request only, so the result does not depend on their order.
    for number in range(150):
        first = free[number * 4]
        data = bytes([number % 255 + 1]) * unit
        start(write_clusters(s, first * unit, data))
        model.data[first * unit : (first + 1) * unit] = data
        if number % 10 == 3:
            other = free[number * 4 + 1]
            start(write_zeroes(s, other * unit, unit, may_unmap=True))
        if number % 7 == 3:
            start(read_clusters(s, choice.randrange(1 << 19), 5000))
        if number % 20 == 9:
            clock.advance(choice.randrange(3000))
    while not all(task.done for task in tasks):
        clock.advance(1000)
    assert not [task.error for task in tasks if task.error]
    assert not s.cluster_allocs
    assert not s.lock.locked
    s.file_node.__class__ = FileNode  # type: ignore[assignment]
    model.compare(s)
    run(discard(s, 0, 1 << 14))
    model.data[: 1 << 14] = bytes(1 << 14)
    close(s)
    judge(path, model)


def test_the_lock_is_handed_on_in_order() -> None:
    clock = VirtualClock()
    lock = CoMutex()
    order: list[int] = []

    async def hold(number: int) -> None:
        async with lock:
            order.append(number)
            await clock.sleep(10)

    tasks = [clock.enter(hold(number), "t", on_done=lambda _: None) for number in range(4)]
    tasks[1].cancel()
    assert isinstance(tasks[1].error, Cancelled)
    clock.advance(100)
    assert order == [0, 2, 3]
    assert not lock.locked


def test_a_woken_waiter_that_is_cancelled_hands_the_lock_on() -> None:
    clock = VirtualClock()
    lock = CoMutex()
    order: list[int] = []

    async def hold(number: int) -> None:
        async with lock:
            order.append(number)

    run(lock.acquire())
    tasks = [clock.enter(hold(number), "t", on_done=lambda _: None) for number in range(2)]
    lock.release()
    tasks[0].cancel()
    clock.settle()
    assert order == [1]
    assert not lock.locked

"""What is left of images when the power is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import GenericError, MachineClosed
from qmpd.sim.power.file import SECTOR
from qmpd.sim.power.storage import OrderedStorage
from qmpd.testing import every_power_loss

Q = {"path": "/q.qcow2", "format": "qcow2", "size": "4M"}


def lost(keep: str, seed: int = 0) -> bytes:
    """What is left of ten sectors of A, flushed, under ten of B and then two of C."""
    with qmpd.Machine(disks={"d": "1M"}, power=True) as vm:
        disk = vm.disk("d")
        disk.write(0, b"A" * 10 * SECTOR)
        disk.flush()
        disk.write(0, b"B" * 10 * SECTOR)
        disk.write(4 * SECTOR, b"C" * 2 * SECTOR)
        vm.power_loss(keep=keep, seed=seed)  # type: ignore[arg-type]  # one of the words
        with pytest.raises(MachineClosed):
            disk.read(0, 1)
        vm.restart()
        return disk.read(0, 10 * SECTOR)


def sectors(data: bytes) -> list[set[int]]:
    return [set(data[start : start + SECTOR]) for start in range(0, len(data), SECTOR)]


def test_what_was_flushed_is_there() -> None:
    assert lost("flushed") == b"A" * 10 * SECTOR
    assert lost("all") == b"B" * 4 * SECTOR + b"C" * 2 * SECTOR + b"B" * 4 * SECTOR


def test_whole_sectors() -> None:
    seen = {lost("random", seed) for seed in range(60)}
    assert len(seen) > 20
    for data in seen:
        for number, sector in enumerate(sectors(data)):
            assert len(sector) == 1
            assert sector <= set(b"ABC" if number in (4, 5) else b"AB")
    assert lost("random", 5) == lost("random", 5)


def test_torn_sectors() -> None:
    seen = [lost("torn", seed) for seed in range(60)]
    torn = [sector for data in seen for sector in sectors(data) if len(sector) > 1]
    assert len(torn) > 20
    for data in seen:
        for start in range(0, len(data), 8):
            assert len(set(data[start : start + 8])) == 1


def test_lengths_zeroes_and_files() -> None:
    storage = OrderedStorage()
    image = storage.create("a")
    image.pwrite(0, b"x" * 5000)
    image.flush()
    image.truncate(100)
    image.zero(0, 4000, may_unmap=True)
    image.pwrite(9000, b"y" * 10)
    lengths, firsts = set(), set()
    for seed in range(100):
        left = storage.unflushed()["a"].left("random", Random(seed))
        lengths.add(left.length)
        firsts.add(left.read(0, 1))
        assert left.read(4100, 1) in (b"x", b"\0")
    assert {100, 5000, 9010} <= lengths
    assert firsts == {b"x", b"\0"}
    assert storage.unflushed()["a"].left("flushed", Random(0)).read(0, 5000) == b"x" * 5000


def test_bad_use() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm:
        with pytest.raises(GenericError, match="power=True"):
            vm.power_loss()
        assert vm.cmd("query-status")["running"]
    with qmpd.Machine(disks={"d": "1M"}, power=True) as vm:
        with pytest.raises(ValueError, match="it is one of 'flushed', 'random', 'torn', 'all'"):
            vm.power_loss(keep="some")  # type: ignore[arg-type]  # that is the point
        with pytest.raises(ValueError, match="a seed is a number"):
            vm.power_loss(seed="x")  # type: ignore[arg-type]  # that is the point
        assert vm.cmd("query-status")["running"]
    with pytest.raises(ValueError, match="'memory' or 'overlay'"):
        qmpd.Machine(storage="host", power=True)


def test_over_files_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"host" * 1024)
    with qmpd.Machine(images={"a": str(path)}, storage="overlay", power=True) as vm:
        vm.disk("a").write(0, b"1")
        vm.disk("a").flush()
        vm.disk("a").write(1, b"2")
        vm.power_loss(keep="flushed")
        vm.restart()
        assert vm.disk("a").read(0, 5) == b"1osth"
    assert path.read_bytes() == b"host" * 1024


def test_forks_lose_their_own_power() -> None:
    with qmpd.Machine(disks={"d": "1M"}, power=True) as vm:
        vm.disk("d").write(0, b"a")
        vm.disk("d").flush()
        vm.disk("d").write(0, b"b")
        mark = vm.checkpoint()
        with mark.fork() as other:
            other.disk("d").flush()
            other.power_loss(keep="flushed")
            other.restart()
            assert other.disk("d").read(0, 1) == b"b"
        vm.power_loss(keep="flushed")
        vm.restart()
        assert vm.disk("d").read(0, 1) == b"a"
        vm.restore(mark)
        assert vm.disk("d").read(0, 1) == b"b"
        vm.power_loss(keep="flushed")
        vm.restart()
        assert vm.disk("d").read(0, 1) == b"a"


def test_the_journal_and_bitmaps_in_use() -> None:
    with qmpd.Machine(images={"q": Q}, power=True) as vm:
        vm.cmd("block-dirty-bitmap-add", node="q", name="b", persistent=True)
        vm.restart()
        vm.disk("q").write(0, b"x")
        vm.power_loss(keep="flushed", seed=3)
        vm.restart()
        assert vm.bitmap("q", "b").inconsistent
        losses = [entry.data for entry in vm.journal if entry.kind == "machine"]
        assert {"what": "power lost", "keep": "flushed", "seed": 3} in losses


def test_on_an_event_loop() -> None:
    async def main() -> None:
        async with aio.Machine(disks={"d": "1M"}, power=True) as vm:
            await vm.disk("d").write(0, b"x", fua=True)
            await vm.disk("d").write(0, b"y")
            vm.power_loss(keep="flushed")
            await vm.restart()
            assert await vm.disk("d").read(0, 1) == b"x"

    asyncio.run(main())


def test_every_point_is_seen() -> None:
    seen: list[tuple[Any, bytes]] = []

    def scenario(vm: qmpd.Machine) -> Iterator[str]:
        vm.disk("d").write(0, b"a")
        yield "written"
        vm.disk("d").flush()
        yield "flushed"
        vm.disk("d").write(0, b"b")

    def check(vm: qmpd.Machine, reached: Any) -> None:
        seen.append((reached, vm.disk("d").read(0, 1)))

    assert every_power_loss(scenario, check, disks={"d": "1M"}, keep="flushed") == 4
    assert seen == [(None, b"\0"), (None, b"\0"), ("written", b"a"), ("flushed", b"a")]


def test_a_failure_says_where() -> None:
    def scenario(vm: qmpd.Machine) -> None:
        vm.disk("d").write(4096, b"a" * 512)
        vm.disk("d").flush()

    def check(vm: qmpd.Machine, reached: Any) -> None:
        assert vm.disk("d").read(4096, 1) == b"\0"

    with pytest.raises(AssertionError) as caught:
        every_power_loss(scenario, check, disks={"d": "1M"}, keep=["flushed"])
    (note,) = caught.value.__notes__
    assert note == "power lost at point 2 of 2, after flush of /d.raw; keep='flushed', seed=2"

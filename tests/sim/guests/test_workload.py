"""Writes in the background."""

from __future__ import annotations

from typing import Any

import pytest

import qmpd
from qmpd import aio, errors

MIB = 1 << 20


def test_the_same_seed_writes_the_same() -> None:
    contents = []
    for seed in (1, 1, 2):
        with qmpd.Machine(disks={"d": "1M"}) as vm:
            work = vm.disk("d").workload(seed, writes=30)
            work.wait()
            work.check()
            assert work.done
            assert len(work.writes) == 30
            assert all(write.error is None for write in work.writes)
            contents.append(vm.disk("d").read(0, MIB))
    assert contents[0] == contents[1] != contents[2]


def test_it_goes_by_the_clock() -> None:
    with qmpd.Machine(disks={"d": "1M"}, clock="held") as vm:
        work = vm.disk("d").workload(1, writes=10, interval=0.5)
        vm.clock.advance(2.6)
        assert [write.time for write in work.writes] == [500_000_000 * n for n in range(1, 6)]
        with pytest.raises(errors.WaitsForever):
            work.wait()
        vm.clock.until_idle()
        assert work.done


def test_a_region() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm:
        work = vm.disk("d").workload(1, writes=100, size=512, region=(4096, 8192))
        work.wait()
        assert {write.offset // 4096 for write in work.writes} == {1, 2}
        assert {len(data) for data in work.blocks.values()} == {512}
        assert vm.disk("d").read(0, 4096) == bytes(4096)


def test_while_a_job_copies() -> None:
    with qmpd.Machine(disks={"a": "64M", "b": "64M"}) as vm:
        vm.disk("a").write(0, pattern=b"abc", length=64 * MIB)
        vm.pace("a", bytes_per_second=16 * MIB)
        work = vm.disk("a").workload(7, writes=200, interval=0.01)
        before = vm.disk("a").read(0, 64 * MIB)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
        assert vm.job("j").wait() == "null"
        assert vm.disk("b").read(0, 64 * MIB) == before
        work.wait()
        work.check()
        with pytest.raises(AssertionError, match=r"'b' has not what seed 7 has written at \d+"):
            work.check("b")


def test_it_is_stopped() -> None:
    with qmpd.Machine(disks={"d": "1M"}, clock="held") as vm:
        work = vm.disk("d").workload(1, interval=1)
        vm.clock.advance(3)
        work.stop()
        work.wait()
        vm.clock.advance(100)
        assert len(work.writes) == 3


def test_it_ends_with_the_machine() -> None:
    with qmpd.Machine(disks={"d": "1M"}, clock="held") as vm:
        work = vm.disk("d").workload(1, interval=1)
        vm.clock.advance(3)
        vm.reset()
        vm.clock.advance(100)
        assert len(work.writes) == 3
        assert vm.disk("d").read(0, MIB) == bytes(MIB)


def test_writes_that_fail() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm:
        vm.faults.fail("pwrite", node="d", errno="ENOSPC", skip=5, count=2)
        work = vm.disk("d").workload(1, writes=10)
        work.wait()
        failed = [number for number, write in enumerate(work.writes) if write.error]
        assert failed == [5, 6]
        assert work.writes[5].error == "No space left on device"
        work.check()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, "no room for 0 bytes"),
        ({"size": 4096, "region": (0, 512)}, r"\(0, 512\) has no room for 4096 bytes"),
        ({"writes": -1}, "not to be negative"),
    ],
)
def test_numbers_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm, pytest.raises(ValueError, match=text):
        vm.disk("d").workload(1, **options)


def test_no_such_disk() -> None:
    with qmpd.Machine() as vm, pytest.raises(LookupError, match="there is no disk 'nope'"):
        vm.disk("nope").workload(1)


def test_patterns() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm:
        disk = vm.disk("d")
        disk.write(0, pattern=0x11, length=3)
        disk.write(3, pattern=b"ab", length=5)
        assert disk.read(0, 9) == b"\x11\x11\x11ababa\0"
        disk.write(0, length=2)
        assert disk.read(0, 3) == b"\0\0\x11"
        wrong: list[dict[str, Any]] = [{}, {"data": b"x", "length": 1}]
        for arguments in [*wrong, {"pattern": b"", "length": 1}]:
            with pytest.raises(ValueError, match="pattern"):
                disk.write(0, **arguments)


async def test_on_a_loop() -> None:
    async with aio.Machine(disks={"d": "1M"}) as vm:
        work = vm.disk("d").workload(1, writes=20)
        await work.wait()
        await work.check()
        assert work.done
        assert len(work.writes) == 20
        await vm.disk("d").write(0, pattern=1, length=MIB)
        with pytest.raises(AssertionError):
            await work.check()
        vm.disk("d").workload(1, interval=1000).stop()

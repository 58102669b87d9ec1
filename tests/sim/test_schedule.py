"""Schedules: other orders of events, each repeatable, and none that QEMU would not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

import qmpd
from qmpd.testing import schedules

PIECES = {"max-workers": 1, "max-chunk": 262144}
"""Of a backup: few requests, one after the other."""
SMALL = {"max-workers": 1, "max-chunk": 65536}
"""More of them."""
DISKS = dict.fromkeys(("a", "b", "t", "u"), "1M")


def side_by_side(schedule: int | None) -> list[str]:
    """Two backups that go on side by side; returns what has been seen, in its order."""
    with qmpd.Machine(disks=DISKS, seed=1, schedule=schedule) as vm:
        for name in "ab":
            vm.disk(name).write(0, b"\x01" * (1 << 20))
        mark = vm.journal.mark()
        vm.cmd("blockdev-backup", job_id="j", device="a", target="t", sync="full", x_perf=SMALL)
        vm.cmd("blockdev-backup", job_id="k", device="b", target="u", sync="full")
        vm.cmd("query-jobs")
        for job in "jk":
            vm.job(job).wait()
        return [json.dumps(entry.describe()) for entry in vm.journal.since(mark)]


def first_to_end(seen: list[str]) -> str:
    line = next(line for line in seen if "BLOCK_JOB_COMPLETED" in line)
    return str(json.loads(line)["data"]["device"])


def test_the_same_seed_gives_the_same_order() -> None:
    for seed in schedules(5):
        assert side_by_side(seed) == side_by_side(seed)


def test_without_a_schedule_there_is_one_order() -> None:
    assert side_by_side(None) == side_by_side(None)


def test_either_of_two_jobs_may_be_first() -> None:
    assert {first_to_end(side_by_side(seed)) for seed in schedules(60)} == {"j", "k"}


def test_a_command_may_come_when_a_job_is_half_done() -> None:
    seen: set[int] = set()
    for seed in schedules(80):
        with qmpd.Machine(disks=DISKS, schedule=seed) as vm:
            vm.disk("a").write(0, b"\x01" * (1 << 20))
            vm.cmd(
                "blockdev-backup",
                job_id="j",
                device="a",
                target="t",
                sync="full",
                auto_dismiss=False,
                x_perf=PIECES,
            )
            (job,) = vm.cmd("query-jobs")
            seen.add(job["current-progress"])
    assert {0, 1 << 20} < seen


def test_an_event_may_come_before_or_after_an_answer() -> None:
    def kinds(seed: int) -> tuple[str, ...]:
        with qmpd.Machine(disks=DISKS, schedule=seed) as vm:
            vm.disk("a").write(0, b"\x01" * (1 << 20))
            arguments: dict[str, Any] = {"job_id": "j", "device": "a", "target": "t", "speed": 1}
            vm.cmd("blockdev-backup", sync="full", x_perf=PIECES, **arguments)
            vm.get_qmp_events()
            mark = vm.journal.mark()
            vm.cmd("job-pause", id="j")
            vm.event_wait("JOB_STATUS_CHANGE", match={"data": {"status": "paused"}})
            entries = vm.journal.since(mark).filter(kind=("answer", "event"))
            return tuple(entry.kind for entry in entries)

    assert {kinds(seed) for seed in schedules(60)} == {("answer", "event"), ("event", "answer")}


def test_a_deleted_device_goes_sooner_or_later() -> None:
    times: set[int] = set()
    for seed in schedules(30):
        with qmpd.Machine(disks=DISKS, board="pc", clock="held", schedule=seed) as vm:
            vm.cmd("device_add", driver="virtio-scsi-pci", id="s")
            vm.cmd("device_add", driver="scsi-hd", id="h", drive="a")
            began = vm.clock.now
            vm.cmd("device_del", id="h")
            vm.clock.until("DEVICE_DELETED")
            times.add(round((vm.clock.now - began) * 1000))
    assert times == {10, 20, 30, 40, 50}


def test_all_data_are_copied_under_any_schedule() -> None:
    for seed in schedules(30):
        with qmpd.Machine(disks=DISKS, schedule=seed) as vm:
            vm.disk("a").write(0, bytes(range(256)) * 4096)
            vm.cmd("blockdev-mirror", job_id="m", device="a", target="t", sync="full")
            vm.disk("a").write(4096, b"new" * 1000)
            vm.event_wait("BLOCK_JOB_READY")
            vm.disk("a").write(700_000, b"later" * 1000)
            vm.cmd("job-complete", id="m")
            vm.job("m").wait()
            expected = bytearray(bytes(range(256)) * 4096)
            expected[4096:7096] = b"new" * 1000
            expected[700_000:705_000] = b"later" * 1000
            assert vm.disk("a").read(0, 1 << 20) == bytes(expected)


@pytest.mark.parametrize("seed", ["7", 1.5, True, b"x"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(ValueError, match="the seed of a schedule is a whole number, not "):
        qmpd.Machine(schedule=seed)


@pytest.mark.parametrize("count", [0, -1, "5", True])
def test_the_number_of_schedules_is_a_whole_number(count: Any) -> None:
    with pytest.raises(ValueError, match="the number of schedules is a whole number above 0"):
        schedules(count)


def test_schedules_can_begin_anywhere() -> None:
    assert list(schedules(3, first=40)) == [40, 41, 42]
    assert len(schedules(3)) == 3


def test_a_decorated_test_names_the_seed_that_broke_it() -> None:
    seen: list[int] = []

    @schedules(10)
    def fails(what: str, schedule: int) -> None:
        seen.append(schedule)
        assert schedule < 4, what

    with pytest.raises(AssertionError) as failure:
        fails("broken")
    assert seen == [0, 1, 2, 3, 4]
    assert failure.value.__notes__ == ["under schedule=4"]

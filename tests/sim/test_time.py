"""The machine's clock: everything that takes time goes by it, and it goes as it is told."""

from __future__ import annotations

from typing import Any

import pytest

import qmpd
from qmpd import aio, errors
from qmpd.api.setup import Setup
from qmpd.machine.devices.board import Board

MIB = 1 << 20


def add(vm: qmpd.Machine, name: str, size: int = 64 * MIB, **options: Any) -> None:
    """Add a node that keeps nothing and takes no time."""
    vm.cmd("blockdev-add", {"driver": "null-co", "node-name": name, "size": size, **options})


def backup(vm: qmpd.Machine, **options: Any) -> None:
    """Start a backup of `a` to `b`, at a MiB/s."""
    given = {"device": "a", "target": "b", "sync": "full", "speed": MIB, **options}
    vm.cmd("blockdev-backup", job_id="j", **given)


def held() -> qmpd.Machine:
    """A machine whose clock is held, with two nodes of 64 MiB."""
    vm = qmpd.Machine(clock="held")
    add(vm, "a")
    add(vm, "b")
    return vm


# What takes time


def test_the_speed_of_a_job() -> None:
    with held() as vm:
        backup(vm)
        assert vm.job("j").progress == (MIB, 64 * MIB)
        for seconds in range(1, 10):
            vm.clock.advance(1.001)
            assert vm.job("j").progress == ((seconds + 1) * MIB, 64 * MIB)
        vm.cmd("block-job-set-speed", device="j", speed=16 * MIB)
        vm.clock.advance(2)
        assert vm.job("j").progress[0] in range(40 * MIB, 44 * MIB)


def test_a_job_that_is_paused_stands_still() -> None:
    with held() as vm:
        backup(vm)
        vm.cmd("job-pause", id="j")
        vm.clock.advance(60)
        assert vm.job("j").progress == (MIB, 64 * MIB)


def test_throttling() -> None:
    limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    with qmpd.Machine(disks={"d": "64M"}) as vm:
        vm.cmd("block_set_io_throttle", {"device": "d", "bps": MIB, **limits})
        before = vm.clock.now
        for number in range(30):
            vm.disk("d").write(number * MIB, b"x" * MIB)
        assert vm.clock.now - before == pytest.approx(29, abs=1)


@pytest.mark.parametrize(("timeout", "fails"), [(1, True), (2, False)])
def test_the_timeout_of_copy_before_write(timeout: int, *, fails: bool) -> None:
    with qmpd.Machine() as vm:
        add(vm, "a")
        add(vm, "b")
        limits = {"bps-write": 40000}
        vm.cmd("object-add", {"qom-type": "throttle-group", "id": "g", "limits": limits})
        throttle = {"driver": "throttle", "node-name": "t", "throttle-group": "g", "file": "b"}
        vm.cmd("blockdev-add", throttle)
        options = {"on-cbw-error": "break-guest-write", "cbw-timeout": timeout}
        filter_ = {"driver": "copy-before-write", "node-name": "c", "file": "a", "target": "t"}
        vm.cmd("blockdev-add", {**filter_, **options})
        vm.disk("c").write(0, bytes(65536))
        # the throttle lets the second one go on after 1.5 seconds
        if fails:
            with pytest.raises(errors.BlockIOError, match="Connection timed out"):
                vm.disk("c").write(65536, bytes(65536))
        else:
            vm.disk("c").write(65536, bytes(65536))
        assert vm.clock.now == pytest.approx(1.5, abs=0.1)


def test_limits_of_event_rates() -> None:
    with held() as vm:
        for name in ("x", "y", "z"):
            vm.cmd("blockdev-add", {"driver": "null-co", "node-name": name, "size": MIB})
        rules = [{"event": "none", "errno": 5}]
        vm.cmd(
            "blockdev-add",
            {"driver": "blkdebug", "node-name": "bad", "image": "x", "inject-error": rules},
        )
        children = {"children": ["bad", "y", "z"], "vote-threshold": 2}
        vm.cmd("blockdev-add", {"driver": "quorum", "node-name": "q", **children})

        def reported() -> int:
            return sum(event["event"] == "QUORUM_REPORT_BAD" for event in vm.get_qmp_events())

        vm.disk("q").read(0, 512)
        assert reported() == 1
        for _ in range(3):
            vm.disk("q").read(0, 512)
        vm.clock.advance(0.9)
        assert reported() == 0
        vm.clock.advance(0.2)
        assert reported() == 1


def test_unplugging_a_device() -> None:
    setup = Setup(clock="held", more={"board": Board("pc", "pc-i440fx-10.0", cpus=1)})
    with qmpd.Machine._of(setup) as vm:
        add(vm, "a")
        vm.cmd("device_add", driver="virtio-scsi-pci", id="s")
        vm.cmd("device_add", driver="scsi-hd", id="d", drive="a")
        vm.cmd("device_del", id="d")
        vm.clock.advance(0.049)
        assert vm.get_qmp_events() == []
        event = vm.clock.until("DEVICE_DELETED")
        assert event["data"]["device"] == "d"
        assert vm.clock.now == pytest.approx(0.05)


def test_the_latency_of_a_null_node() -> None:
    with qmpd.Machine() as vm:
        add(vm, "slow", **{"latency-ns": 2_000_000_000})
        vm.disk("slow").write(0, b"x" * 512)
        assert vm.clock.now == 2


def test_the_date_of_events_and_statistics() -> None:
    with held() as vm:
        vm.cmd("stop")
        first = vm.event_wait("STOP")
        vm.cmd("cont")
        vm.clock.advance(1000.5)
        vm.cmd("stop")
        second = vm.event_wait("STOP")
    assert first is not None
    assert second is not None
    times = [event["timestamp"] for event in (first, second)]
    microseconds = [time["seconds"] * 1_000_000 + time["microseconds"] for time in times]
    assert microseconds[1] - microseconds[0] == 1_000_500_000


# until


def test_until_an_event() -> None:
    with held() as vm:
        backup(vm)
        event = vm.clock.until("BLOCK_JOB_COMPLETED", {"data": {"device": "j"}})
        assert event["data"]["offset"] == 64 * MIB
        assert vm.clock.now == pytest.approx(63, abs=0.001)
        # it was taken
        names = {event["event"] for event in vm.get_qmp_events()}
        assert names == {"JOB_STATUS_CHANGE"}


def test_an_event_that_has_come_takes_no_time() -> None:
    with held() as vm:
        vm.cmd("stop")
        vm.cmd("cont")
        assert vm.clock.until("RESUME")["event"] == "RESUME"
        assert vm.clock.now == 0


@pytest.mark.parametrize("clock", ["held", "virtual"])
def test_an_event_that_does_not_come(clock: Any) -> None:
    with qmpd.Machine(clock=clock) as vm:
        add(vm, "a")
        add(vm, "b")
        backup(vm)
        with pytest.raises(TimeoutError, match=r"no event BLOCK_JOB_COMPLETED within 5 s"):
            vm.clock.until("BLOCK_JOB_COMPLETED", limit=5)
        assert vm.clock.now == pytest.approx(5, abs=1)
        assert vm.job("j").status == "running"


def test_nothing_is_left_to_be_done() -> None:
    with held() as vm, pytest.raises(errors.WaitsForever, match=r"event STOP.*nothing left to do"):
        vm.clock.until("STOP")


def test_until_on_a_real_clock() -> None:
    with qmpd.Machine(clock="real") as vm:
        add(vm, "a")
        add(vm, "b")
        backup(vm, speed=640 * MIB)
        assert vm.clock.until("BLOCK_JOB_COMPLETED")["data"]["device"] == "j"


def test_until_behind_a_socket() -> None:
    with held() as vm, vm.serve():
        backup(vm)
        assert vm.clock.until("BLOCK_JOB_COMPLETED")["data"]["device"] == "j"
        assert vm.clock.now == pytest.approx(63, abs=0.001)


async def test_until_on_a_loop() -> None:
    async with aio.Machine(clock="held", disks={"a": "4M", "b": "4M"}) as vm:
        await vm.disk("a").write(0, b"x" * 4 * MIB)
        options = {"device": "a", "target": "b", "sync": "full", "speed": MIB}
        await vm.cmd("blockdev-backup", {"job-id": "j", **options})
        event = await vm.clock.until("BLOCK_JOB_COMPLETED", limit=10)
        assert event["data"]["device"] == "j"
        assert vm.clock.now == pytest.approx(3, abs=0.001)

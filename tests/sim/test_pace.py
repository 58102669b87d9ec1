"""How fast nodes are for jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio, errors
from qmpd.testing import RemoteMachine

MIB = 1 << 20


@pytest.fixture
def vm() -> Any:
    """A machine whose clock is held, with two disks of 100 MiB, one of them full."""
    with qmpd.Machine(disks={"a": "100M", "b": "100M"}, clock="held") as machine:
        machine.disk("a").write(0, b"x" * 100 * MIB)
        yield machine


JOBS: list[tuple[str, dict[str, Any]]] = [
    ("blockdev-backup", {"device": "a", "target": "b", "sync": "full"}),
    ("blockdev-mirror", {"device": "a", "target": "b", "sync": "full"}),
]


@pytest.mark.parametrize(("command", "options"), JOBS)
@pytest.mark.parametrize("node", ["a", "b"])
def test_a_job_takes_the_time_of_its_slower_node(
    vm: qmpd.Machine, command: str, options: dict[str, Any], node: str
) -> None:
    vm.pace(node, bytes_per_second=10 * MIB)
    vm.cmd(command, {"job-id": "j", **options})
    assert vm.job("j").progress == (0, 100 * MIB)
    vm.clock.advance(3.75)
    assert vm.job("j").progress == (37 * MIB, 100 * MIB)
    vm.clock.advance(6.24)
    assert vm.job("j").progress[0] < 100 * MIB
    vm.clock.advance(0.02)
    if command == "blockdev-mirror":
        assert vm.job("j").status == "ready"
        vm.cmd("job-complete", id="j")
    assert vm.job("j").wait() == "null"
    assert vm.disk("b").read(0, 100 * MIB) == b"x" * 100 * MIB


def test_commit_and_stream() -> None:
    for command in ("block-commit", "block-stream"):
        images = {"base": {"path": "base", "format": "qcow2", "size": "64M"}}
        with qmpd.Machine(images=images, clock="held") as vm:
            vm.disk("base").write(0, b"1" * 32 * MIB)
            snapshot = {"device": "base", "snapshot-file": "top", "snapshot-node-name": "top"}
            vm.cmd("blockdev-snapshot-sync", snapshot)
            vm.disk("base").write(0, b"2" * 16 * MIB)
            vm.pace("top", bytes_per_second=MIB)
            vm.cmd(command, {"job-id": "j", "device": "top"})
            vm.clock.advance(4.2)
            done, total = vm.job("j").progress
            assert 0 < done < total
            vm.clock.advance(30)
            assert vm.job("j").status in ("ready", "null")


def test_a_disk_of_a_tebibyte_is_seen_at_37_percent() -> None:
    before = time.monotonic()
    with qmpd.Machine(disks={"a": "1T", "b": "1T"}, clock="held") as vm:
        for gib in range(1024):
            # between them are zeroes, which a backup asks for in one request
            vm.disk("a").write(gib << 30, b"x" * 65536)
        vm.pace("b", bytes_per_second=1 << 30)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
        vm.clock.advance(379)
        done, total = vm.job("j").progress
        assert f"{done / total:.0%}" == "37%"
        vm.cmd("block-job-cancel", device="j", force=True)
        vm.clock.until("BLOCK_JOB_CANCELLED")
    assert time.monotonic() - before < 20


def test_the_time_of_a_request(vm: qmpd.Machine) -> None:
    vm.pace("b", seconds=0.5)
    options = {"device": "a", "target": "b", "sync": "full"}
    vm.cmd("blockdev-backup", {"job-id": "j", **options, "x-perf": {"max-workers": 1}})
    for count in range(1, 5):
        vm.clock.advance(0.5)
        assert vm.job("j").progress == (count * MIB, 100 * MIB)


def test_guests_are_as_quick_as_ever(vm: qmpd.Machine) -> None:
    vm.pace("a", bytes_per_second=1, seconds=100)
    vm.disk("a").write(0, b"y" * MIB)
    assert vm.clock.now == 0


def test_a_pace_is_taken_back(vm: qmpd.Machine) -> None:
    vm.pace("a", bytes_per_second=1)
    vm.pace("a")
    vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
    assert vm.job("j").wait() == "null"
    assert vm.clock.now == 0


def test_a_pace_stays_with_the_machine(vm: qmpd.Machine) -> None:
    vm.pace("a", bytes_per_second=10 * MIB)
    vm.reset()
    vm.disk("a").write(0, b"x" * 100 * MIB)
    vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
    vm.clock.advance(5)
    assert vm.job("j").progress == (50 * MIB, 100 * MIB)


@pytest.mark.parametrize(
    ("pace", "error", "text"),
    [
        ({"node": "nope"}, LookupError, r"there is no node 'nope' \(nodes: .*a.*b\)"),
        ({"node": "a", "bytes_per_second": 0}, ValueError, "is to be positive, not 0"),
        ({"node": "a", "seconds": -1}, ValueError, "not to be negative, as -1 is"),
    ],
)
def test_bad_use(vm: qmpd.Machine, pace: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        vm.pace(**pace)


def test_a_machine_that_has_ended() -> None:
    vm = qmpd.Machine()
    vm.close()
    with pytest.raises(errors.MachineClosed):
        vm.pace("a")


async def test_on_a_loop() -> None:
    async with aio.Machine(disks={"a": "10M", "b": "10M"}) as vm:
        await vm.disk("a").write(0, b"x" * 10 * MIB)
        vm.pace("a", bytes_per_second=MIB)
        await vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
        assert await vm.job("j").wait() == "null"
        assert vm.clock.now == pytest.approx(10)


def test_the_control_monitor(vm: qmpd.Machine, tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with vm.serve(control=path), RemoteMachine(path) as control:
        control.cmd("x-sim-pace", {"node": "a", "bytes-per-second": 10 * MIB})
        control.cmd("x-sim-pace", {"node": "b", "seconds": 0.25})
        assert control.cmd("x-sim-query-paces") == [
            {"node": "a", "bytes-per-second": 10 * MIB, "seconds": 0},
            {"node": "b", "seconds": 0.25},
        ]
        with pytest.raises(errors.GenericError, match="there is no node 'nope'"):
            control.cmd("x-sim-pace", node="nope")
        control.cmd("x-sim-pace", node="a")
        control.cmd("x-sim-pace", node="b")
        assert control.cmd("x-sim-query-paces") == []


def test_a_held_machine_restarts_though_requests_take_their_time() -> None:
    with qmpd.Machine(disks={"a": "4M", "b": "4M"}, clock="held") as vm:
        vm.disk("a").write(0, b"x" * (4 << 20))
        vm.pace("b", seconds=5)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
        vm.clock.advance(1)
        assert vm.job("j").status == "running"
        vm.restart()
        # what was under way has come to its end, and the clock stands still again
        assert vm.clock.now == 5
        assert vm.cmd("query-jobs") == []
        vm.clock.advance(1)
        assert vm.clock.now == 6

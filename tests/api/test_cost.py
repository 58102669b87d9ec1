"""What machines cost: time, memory and descriptors, and that they give all of it back."""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path

import pytest

import qmpd

MIB = 1 << 20


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _make_and_close(count: int) -> None:
    for _ in range(count):
        with qmpd.Machine(disks={"disk0": "64M"}) as vm:
            vm.disk("disk0").write(0, b"x" * 4096)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thousands_of_machines_leave_nothing_behind() -> None:
    _make_and_close(1000)
    gc.collect()
    descriptors, objects, resident = _descriptors(), len(gc.get_objects()), _resident()
    _make_and_close(4000)
    gc.collect()
    assert _descriptors() == descriptors
    assert abs(len(gc.get_objects()) - objects) < 1000
    assert _resident() - resident < 2 * MIB


def test_machines_that_nobody_closes_leave_nothing_behind() -> None:
    def leave(count: int) -> None:
        for _ in range(count):
            qmpd.Machine(disks={"disk0": "64M"}).disk("disk0").write(0, b"x")

    leave(50)
    gc.collect()
    descriptors, objects = _descriptors(), len(gc.get_objects())
    leave(200)
    gc.collect()
    assert _descriptors() == descriptors
    assert abs(len(gc.get_objects()) - objects) < 1000


def test_a_machine_costs_less_than_two_milliseconds() -> None:
    _make_and_close(20)
    times = []
    for _ in range(20):
        # of this process: other programs may have the CPU meanwhile
        began = time.process_time()
        _make_and_close(10)
        times.append((time.process_time() - began) / 10)
    assert statistics.median(times) < 0.002


def test_a_thousand_machines_at_a_time() -> None:
    before = _descriptors()
    machines = [qmpd.Machine(disks={"disk0": "1G"}) for _ in range(1000)]
    try:
        assert _descriptors() == before
        for number, vm in enumerate(machines):
            vm.disk("disk0").write(0, number.to_bytes(2, "big"))
        for number, vm in enumerate(machines):
            assert vm.disk("disk0").read(0, 2) == number.to_bytes(2, "big")
    finally:
        for vm in machines:
            vm.close()


def test_a_thousand_disks_in_one_machine() -> None:
    before = _descriptors()
    names = [f"disk{number}" for number in range(1000)]
    with qmpd.Machine(disks=dict.fromkeys(names, "16T")) as vm:
        assert _descriptors() - before <= 50
        for name in names[::100]:
            vm.disk(name).write(1 << 43, b"far away")
        assert len(vm.cmd("query-block")) == 1000
        assert vm.nodes["disk100"]["image"]["actual-size"] == 4096

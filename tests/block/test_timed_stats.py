"""What query-blockstats tells of the last seconds, of whose time, and as QEMU does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.io_limits import set_io_limits
from qmpd.block.io.latency import LatencyHistogram
from qmpd.block.io.stats import BlockAcctStats
from qmpd.block.io.timed_average import TimedAverage
from qmpd.block.throttle.limits import ThrottleConfig
from qmpd.loop.clock import NANOSECONDS, VirtualClock
from tests.drivers.pair import SIDES, Drivers
from tests.support.programs import QMPD_SYSTEM, qemu_missing
from tests.support.services import bare_machine

LATENCY = 50_000_000
DRIVES = [
    f"if=none,id=slow,driver=null-co,size=1M,latency-ns={LATENCY},read-zeroes=on"
    ",stats-intervals.0=600,stats-intervals.1=1",
    "if=none,id=failing,driver=null-co,size=1M,stats-account-failed=off,stats-account-invalid=off"
    ",stats-intervals.0=600",
    "if=none,id=empty,stats-account-failed=off,stats-intervals.0=3",
]


def test_windows() -> None:
    average = TimedAverage(0, 3)  # windows of 4: [0, 2) and [0, 4), then [2, 6), [4, 8) and so on
    assert average.latencies(0) == (0, 0, 0)
    average.account(10, 1)
    average.account(5, 1)
    assert average.latencies(1) == (5, 10, 7)
    assert average.density(1) == 15 / 3  # the first window counts as if it had begun at -2
    average.account(1, 2)  # the first window is over; [0, 4) is the older one now
    assert average.latencies(3) == (1, 10, 5)
    assert average.density(3) == 16 / 3
    assert average.latencies(4) == (1, 1, 1)  # that of [2, 6)
    assert average.density(5) == 1 / 3
    assert average.latencies(6) == (0, 0, 0)
    average.account(9, 1003)  # long after; windows end at 1004 and 1006
    assert average.latencies(1003) == (9, 9, 9)
    assert average.density(1003) == 9 / 3
    assert average.latencies(1005) == (9, 9, 9)
    assert average.latencies(1006) == (0, 0, 0)


def test_failures_that_do_not_count_are_in_histograms_only() -> None:
    clock = VirtualClock(7)
    stats = BlockAcctStats(clock.now)
    stats.account_failed = False
    stats.add_interval(5)
    stats.histograms["rd"] = LatencyHistogram([10])
    stats.failed("rd", 20)
    info = stats.info()
    assert info["rd_latency_histogram"]["bins"] == [0, 1]
    assert info["timed_stats"][0]["max_rd_latency_ns"] == 0
    assert (info["rd_total_time_ns"], info["failed_rd_operations"]) == (0, 1)
    assert "idle_time_ns" not in info


def test_harness_clock() -> None:
    """With -accel qtest the harness's time counts, and every request takes a millisecond."""
    clock, harness = VirtualClock(500), VirtualClock()
    machine = bare_machine(clock, harness=harness)
    graph = machine.graph
    assert graph.throttle_groups.clock is harness
    stats = BlockBackend(graph, "d").stats
    stats.add_interval(3)
    stats.done("wr", 512, 77)
    assert stats.info()["wr_total_time_ns"] == 1_000_000
    assert "idle_time_ns" not in stats.info()  # time 0 is no time
    harness.advance(NANOSECONDS)
    stats.done("wr", 512, 77)
    clock.advance(100 * NANOSECONDS)
    info = stats.info()
    assert info["idle_time_ns"] == 0
    assert info["timed_stats"][0]["avg_wr_latency_ns"] == 1_000_000
    assert info["timed_stats"][0]["avg_wr_queue_depth"] == 2_000_000 / (3 * NANOSECONDS)
    assert machine.services.clocks.virtual.now() == NANOSECONDS


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Drivers]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    for side in SIDES:
        (tmp_path / side).mkdir()
    pair = Drivers(tmp_path, *(word for drive in DRIVES for word in ("-drive", drive)))
    yield pair
    pair.close()


def _stats(pair: Drivers, side: str) -> dict[str, dict[str, Any]]:
    answer = pair._program(side).execute({"execute": "query-blockstats"})[-1]
    return {entry["device"]: entry["stats"] for entry in answer["return"]}


def _io(pair: Drivers, device: str, *commands: str) -> None:
    """Requests that are counted; what they print may come before or after their answers."""
    said: list[list[Any]] = []
    for side in SIDES:
        lines: list[Any] = []
        for command in (*commands, "aio_flush"):
            line = {"command-line": f'qemu-io {device} "{command}"'}
            request = {"execute": "human-monitor-command", "arguments": line}
            pair._program(side).send(json.dumps(request).encode() + b"\n")
            lines += pair._answer(side)[0]
        said.append(sorted(lines, key=str))
    assert said[1] == said[0]


def test_same_as_qemu(pair: Drivers) -> None:
    pair.look()
    pair.io("slow", "read 0 512", "write 0 64k", "flush", "discard 0 512")
    _io(pair, "slow", "aio_read 0 512", "aio_write 0 64k")
    _io(pair, "failing", "aio_read -i 0 512", "aio_read 1M 512", "aio_write 1M 512")
    _io(pair, "failing", "aio_read 0 512")
    for side in SIDES:
        stats = _stats(pair, side)
        long, short = stats["slow"]["timed_stats"]
        assert (long["interval_length"], short["interval_length"]) == (600, 1)
        for kind in ("rd", "wr"):
            for value in (long, short):
                least, most = value[f"min_{kind}_latency_ns"], value[f"max_{kind}_latency_ns"]
                assert LATENCY <= least == most == value[f"avg_{kind}_latency_ns"] < 5 * LATENCY
            # 800 s is its window, half of which are over at first
            assert 0.9 < long[f"avg_{kind}_queue_depth"] / (least / 400 / NANOSECONDS) <= 1
        assert long["max_zone_append_latency_ns"] == 0
        (failing,) = stats["failing"]["timed_stats"]
        assert 0 < failing["max_rd_latency_ns"] == stats["failing"]["rd_total_time_ns"]
        assert failing["max_wr_latency_ns"] == stats["failing"]["wr_total_time_ns"] == 0
        assert stats["empty"]["timed_stats"] == []
        assert stats["empty"]["account_failed"] is True


INTERVALS = [
    *("1=10", "x=10", "0=0", "0=x", "0=5000000000", "0=-1", "0=", "0.a=3", "=3", "00=3"),
    *("0=3,stats-intervals.0.a=3", "b=3,stats-intervals.a=3", "0=3,stats-intervals.x=3"),
]


@pytest.mark.parametrize("text", INTERVALS)
def test_same_complaints(text: str) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    drive = f"if=none,id=d,driver=null-co,size=1M,stats-intervals.{text}"
    complaints = [
        subprocess.run(
            [*program, "-machine", "none", "-nodefaults", "-display", "none", "-drive", drive],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        for program in (["qemu-system-x86_64"], QMPD_SYSTEM)
    ]
    assert [ended.returncode for ended in complaints] == [1, 1]
    expected, got = (ended.stderr.split(": ", 1)[1] for ended in complaints)
    assert got == expected


def test_limits_follow_the_harness() -> None:
    clock, harness = VirtualClock(), VirtualClock()
    graph = bare_machine(clock, harness=harness).graph
    node = clock.run(blockdev_add(graph, {"driver": "null-co", "node-name": "n", "size": 1 << 20}))
    backend = clock.run(BlockBackend.on(node, name="d"))
    config = ThrottleConfig()
    config.update({"iops-total": 1})
    clock.run(set_io_limits(backend, config, None, default_group="d"))
    tasks = [clock.enter(backend.pread(0, 512), "read") for _ in range(3)]

    def done() -> list[bool]:
        clock.advance(100 * NANOSECONDS)
        return [task.done for task in tasks]

    assert done() == [True, False, False]
    harness.advance(NANOSECONDS - 1 - NANOSECONDS // 10)
    assert done() == [True, False, False]
    harness.advance(1)
    assert done() == [True, True, False]
    harness.advance(NANOSECONDS)
    assert done() == [True, True, True]

"""What machines inside a program cost: no daemon, and nothing of QEMU's to compare with."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import qmpd
from benchmarks.report import Report

ROUNDS: Final = 5
MACHINES: Final = 200
COMMANDS: Final = 5000
WRITES: Final = 2000
BLOCK: Final = 65536


class Figure(NamedTuple):
    """One figure.

    :param limit: what it must not exceed
    """

    name: str
    unit: str
    measure: Callable[[], float]
    limit: float | None = None


def _machines(disks: dict[str, str]) -> float:
    """Milliseconds to make and close a machine."""
    began = time.perf_counter()
    for _ in range(MACHINES):
        qmpd.Machine(disks=disks).close()
    return (time.perf_counter() - began) / MACHINES * 1e3


_MEMORY: Final = """
import gc
from pathlib import Path

import qmpd

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
warm = [qmpd.Machine(disks={disks}) for _ in range(10)]
gc.collect()
before = resident()
machines = [qmpd.Machine(disks={disks}) for _ in range(1000)]
print((resident() - before) / len(machines) / 1024)
"""


def _memory(disks: dict[str, str]) -> float:
    """KiB for each of a thousand machines that are open at a time, in a fresh process."""
    script = _MEMORY.format(disks=disks)
    return float(subprocess.check_output([sys.executable, "-c", script]))


def _commands() -> float:
    """Commands per second."""
    with qmpd.Machine(disks={"disk0": "64M"}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b")
        began = time.perf_counter()
        for _ in range(COMMANDS):
            vm.cmd("block-dirty-bitmap-clear", node="disk0", name="b")
        return COMMANDS / (time.perf_counter() - began)


def _writes() -> float:
    """Guest writes of 64 KiB per second, to a raw disk in memory."""
    with qmpd.Machine(disks={"disk0": "1G"}) as vm:
        disk = vm.disk("disk0")
        data = bytes(range(256)) * (BLOCK // 256)
        began = time.perf_counter()
        for number in range(WRITES):
            disk.write(number * BLOCK, data)
        return WRITES / (time.perf_counter() - began)


def _each(action: Callable[[], object], count: int = MACHINES) -> float:
    """Milliseconds that something takes."""
    began = time.perf_counter()
    for _ in range(count):
        action()
    return (time.perf_counter() - began) / count * 1e3


def _reset() -> float:
    with qmpd.Machine(disks=DISK) as vm:
        return _each(vm.reset)


def _restore() -> float:
    with qmpd.Machine(disks=DISK) as vm:
        mark = vm.checkpoint()
        return _each(lambda: vm.restore(mark))


def _fork(size: int) -> float:
    """With so many bytes of data."""
    with qmpd.Machine(disks={"disk0": "64G"}) as vm:
        # of one byte, so that it takes no memory: what is copied does not depend on it
        data = b"x" * (4 << 20)
        for offset in range(0, size, len(data)):
            vm.disk("disk0").write(offset, data)
        mark = vm.checkpoint()
        return _each(lambda: mark.fork().close(), 20)


DISK: Final = {"disk0": "64M"}

FIGURES: Final = (
    Figure("empty machine, made and closed", "ms", lambda: _machines({}), 2),
    Figure("machine with a disk, made and closed", "ms", lambda: _machines(DISK), 2),
    Figure("memory of an empty machine", "KiB", lambda: _memory({})),
    Figure("memory of a machine with a disk", "KiB", lambda: _memory(DISK)),
    Figure("reset of a machine with a disk", "ms", _reset, 2),
    Figure("restore of a machine with a disk", "ms", _restore, 2),
    Figure("fork with 1 MiB of data, and its end", "ms", lambda: _fork(1 << 20), 10),
    Figure("fork with 4 GiB of data, and its end", "ms", lambda: _fork(4 << 30), 10),
    Figure("bitmap-clear, in process", "1/s", _commands),
    Figure("64 KiB writes, in process", "1/s", _writes),
)


def run(figures: Iterable[Figure], report: Report) -> None:
    """Measure what is wanted."""
    for figure in figures:
        if report.wants(figure.name):
            rounds = 1 if report.quick else ROUNDS
            value = statistics.median(figure.measure() for _ in range(rounds))
            report.add(figure.name, figure.unit, value, limit=figure.limit)

"""What libvirt takes for a domain, with each program as its emulator."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.priority import prioritized
from benchmarks.report import Report
from tests.clients.libvirt.daemon import Libvirtd, libvirt_missing
from tests.clients.libvirt.descriptions import CHECKPOINT, push
from tests.clients.libvirt.world import PROGRAMS, Disk, Vm
from tests.support.programs import qemu_missing

ROUNDS: Final = 9
WRITTEN: Final = ("write -P 1 1M 4M", "write -P 2 9M 64k")
"""What the guest writes before each incremental backup."""


def _domain(vm: Vm) -> None:
    vm.define(Disk("vda"), Disk("vdb"))
    vm.virsh("define d.xml")


def _seconds(vm: Vm, script: str) -> float:
    began = time.perf_counter()
    vm.virsh(script)
    passed = time.perf_counter() - began
    if vm.said[-1].status:
        raise RuntimeError(vm.said[-1].err)
    return passed


def _start(vm: Vm) -> float:
    """Seconds of ``virsh start``."""
    _domain(vm)
    return _seconds(vm, "start d")


def _backup(vm: Vm) -> float:
    """Seconds until an incremental backup has been pushed."""
    place = vm.place
    for name in ("c1", "c2"):
        vm.file(f"{name}.xml", CHECKPOINT.format(name))
    vm.file("full.xml", push(place / "full.qcow2"))
    vm.file("inc.xml", push(place / "inc.qcow2", "c1"))
    _domain(vm)
    vm.virsh("start d; backup-begin d full.xml c1.xml")
    vm.until("domjobinfo d", "None")
    for command in WRITTEN:
        vm.write("virtio-disk0", command)
    began = time.perf_counter()
    vm.virsh("backup-begin d inc.xml c2.xml")
    vm.until("domjobinfo d", "None")
    passed = time.perf_counter() - began
    vm.virsh("destroy d")
    for name in ("full.qcow2", "inc.qcow2", "vda.qcow2", "vdb.qcow2"):
        (place / name).unlink()
    return passed


FIGURES: Final[tuple[tuple[str, Callable[[Vm], float]], ...]] = (
    ("domain start under libvirt", _start),
    ("incremental backup under libvirt", _backup),
)


@contextlib.contextmanager
def _machines(names: list[str]) -> Iterator[dict[str, Vm]]:
    """A domain on each program, at a libvirtd which knows these already."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "libvirtd").mkdir()
        daemon = Libvirtd(place / "libvirtd")
        try:
            for name in names:
                daemon.virsh(f"domcapabilities --emulatorbin {PROGRAMS[name]}", place)
            yield {name: Vm(daemon, name, place / name) for name in names}
        finally:
            daemon.close()


def run(report: Report) -> None:
    """Measure what is wanted: libvirt must not have to wait longer than for the real QEMU."""
    chosen = [each for each in FIGURES if report.wants(each[0])]
    missing = libvirt_missing() if chosen else None
    if missing is not None:
        for title, _ in chosen:
            report.skip(title, missing)
        return
    if not chosen:
        return
    names = ["qmpd"] if qemu_missing() else ["qmpd", "qemu"]
    # libvirtd, virsh and the machines are started from here, and come before other programs too
    with prioritized(), _machines(names) as machines:
        for title, measure in chosen:
            seconds: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(1 if report.quick else ROUNDS):
                for name, vm in machines.items():
                    seconds[name].append(measure(vm))
                    vm.close()
            figures = {name: statistics.median(seconds[name]) * 1e3 for name in names}
            report.add(title, "ms", figures["qmpd"], figures.get("qemu"), target=1)

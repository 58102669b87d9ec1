"""The load of QEMU's own test graph-changes-while-io: a graph changes under an export's reads."""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import Final

from benchmarks.daemon import Daemon, storage_daemons
from benchmarks.priority import prioritized
from benchmarks.report import Report

NAME: Final = "2 million NBD reads, overlays come and go"
READS: Final = 2_000_000
SHARE: Final = 10
"""The time is that of so much less, times this."""
ROUNDS: Final = 3


def _seconds(command: list[str]) -> float:
    """Seconds for all reads, in one of the programs."""
    with Daemon(command, first=True) as daemon:
        top, path = f"{daemon.folder}/top", f"{daemon.folder}/nbd.sock"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "null-co://", top]
        subprocess.run(create, check=True)
        daemon.execute("object-add", **{"qom-type": "iothread", "id": "t"})
        node = {"driver": "null-co", "node-name": "node0", "read-zeroes": True}
        daemon.execute("blockdev-add", **node)
        daemon.execute("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
        export = {"type": "nbd", "id": "e", "node-name": "node0", "writable": True}
        thread = {"iothread": "t", "fixed-iothread": True}
        daemon.execute("block-export-add", **export, **thread)
        file = {"driver": "file", "filename": top}
        overlay = {"driver": "qcow2", "node-name": "overlay", "backing": "node0", "file": file}
        url = f"nbd+unix:///node0?socket={path}"
        began = time.perf_counter()
        with prioritized():
            bench = subprocess.Popen(
                ["qemu-img", "bench", "-f", "raw", "-c", str(READS // SHARE), url],
                stdout=subprocess.DEVNULL,
            )
        while bench.poll() is None:
            daemon.execute("blockdev-add", **overlay)
            daemon.execute("blockdev-del", **{"node-name": "overlay"})
        if bench.returncode:
            raise RuntimeError("qemu-img bench has failed")
        return (time.perf_counter() - began) * SHARE


def run(report: Report) -> None:
    """Measure it, if it is wanted and QEMU is installed, whose client it needs."""
    commands = storage_daemons()
    if not report.wants(NAME):
        return
    if "QEMU" not in commands:
        report.skip(NAME, "there is no qemu-img")
        return
    figures: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 if report.quick else ROUNDS):
        for name, command in commands.items():
            figures[name].append(_seconds(command))
    ours, real = (statistics.median(figures[name]) for name in ("qmpd", "QEMU"))
    report.add(NAME, "s", ours, real, target=1)

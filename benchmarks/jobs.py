"""What is measured of jobs: backups, and what others notice of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.daemon import Daemon, request
from benchmarks.images import new_image
from benchmarks.measures import Measure

MIB: Final = 1 << 20
SIZE: Final = 256 * MIB
JOBS: Final = 10
CREATED: Final = 1000


def _add(daemon: Daemon, name: str, driver: str, size: int = SIZE) -> None:
    """A new image, open as node `name`."""
    options = new_image(daemon, name, size, driver=driver)
    daemon.execute("blockdev-add", **{**options, "node-name": name})


def _null(daemon: Daemon, name: str, size: int = SIZE) -> None:
    daemon.execute("blockdev-add", driver="null-co", size=size, **{"node-name": name})


def _backup(source: str, target: str, job: str = "j", **more: Any) -> dict[str, Any]:
    return {"job-id": job, "device": source, "target": target, "sync": "full", **more}


def _second(daemon: Daemon, **options: Any) -> float:
    """MiB per second of a job's second run: in the first one pages are new to the kernel."""
    daemon.run_job("blockdev-backup", **options)
    return SIZE / MIB / daemon.run_job("blockdev-backup", **options)


def _full(driver: str) -> Callable[[Daemon], float]:
    """MiB per second of a full backup of an image that is full of data."""

    def run(daemon: Daemon) -> float:
        _null(daemon, "data")
        _add(daemon, "source", driver)
        _add(daemon, "target", driver)
        daemon.run_job("blockdev-backup", **_backup("data", "source"))
        return _second(daemon, **_backup("source", "target"))

    return run


def _incremental(driver: str) -> Callable[[Daemon], float]:
    """MiB per second of an incremental backup of an image all of which was written to."""

    def run(daemon: Daemon) -> float:
        _null(daemon, "data")
        _add(daemon, "source", driver)
        _add(daemon, "target", driver)
        daemon.execute("block-dirty-bitmap-add", node="source", name="b")
        daemon.run_job("blockdev-backup", **_backup("data", "source"))
        mode = {"sync": "bitmap", "bitmap": "b", "bitmap-mode": "never"}
        return _second(daemon, **_backup("source", "target") | mode)

    return run


def _latency(daemon: Daemon) -> float:
    """Microseconds that one in a hundred requests exceeds, while jobs copy."""
    _null(daemon, "data")
    for number in range(JOBS):
        _add(daemon, f"t{number}", "raw")
        options = _backup("data", f"t{number}", f"j{number}", speed=20 * MIB)
        daemon.execute("blockdev-backup", **options)
    times = []
    for _ in range(2000):
        began = time.perf_counter()
        daemon.execute("query-version")
        times.append(time.perf_counter() - began)
    assert len(daemon.execute("query-jobs")) == JOBS
    return sorted(times)[len(times) * 99 // 100] * 1e6


def _created(daemon: Daemon) -> float:
    """Microseconds to create a job and to cancel it."""
    _null(daemon, "source", MIB)
    _null(daemon, "target", MIB)
    more: dict[str, Any] = {"speed": 1, "x-perf": {"max-workers": 1, "max-chunk": 65536}}
    options = _backup("source", "target", **more)
    create, cancel = request("blockdev-backup", **options), request("job-cancel", id="j")
    began = time.perf_counter()
    for _ in range(CREATED):
        daemon.answer(create)
        daemon.answer(cancel)
    return (time.perf_counter() - began) / CREATED * 1e6


def _throughput(where: str) -> tuple[Measure, ...]:
    return tuple(
        Measure(f"{name}, {driver}, {where}", "MB/s", run(driver), more_is_better=True, target=1.5)
        for name, run in (("full backup", _full), ("incremental backup", _incremental))
        for driver in ("raw", "qcow2")
    )


HOST_JOBS: Final = (
    *_throughput("host"),
    Measure(f"p99 of a request, {JOBS} jobs", "us", _latency, target=1),
    Measure("create and cancel a job", "us", _created, target=1),
)
"""On the storage daemons; images are files of the host."""

MEMORY_JOBS: Final = _throughput("memory")
"""On the storage daemons; images are in memory."""

"""What is measured of images: the same requests, for qmpd's system emulator and QEMU's."""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.daemon import Daemon, request
from benchmarks.measures import GIB, TIB, Measure

WRITE: Final = 65536
WRITES: Final = 3000
CHAIN: Final = 198
SHORT_CHAIN: Final = 50
READS: Final = 1000


def _create(daemon: Daemon, **options: Any) -> None:
    daemon.job("blockdev-create", **{"job-id": "create"}, options=options)


def _file(daemon: Daemon, name: str) -> dict[str, str]:
    return {"driver": "file", "filename": f"{daemon.folder}/{name}"}


def new_image(
    daemon: Daemon, name: str, size: int, driver: str = "qcow2", **options: Any
) -> dict[str, Any]:
    """Make an image; the options to open it as node ``n0``."""
    file = _file(daemon, name)
    image = {"driver": driver, "node-name": "n0", "file": file}
    _create(daemon, **file, size=size if driver == "raw" else 0)
    if driver == "raw":
        return image
    daemon.execute("blockdev-add", **file, **{"node-name": "new"})
    _create(daemon, driver=driver, file="new", size=size, **options)
    daemon.execute("blockdev-del", **{"node-name": "new"})
    return image


def _write(offset: int) -> bytes:
    line = f'qemu-io n0 "write -q {offset} {WRITE}"'
    return request("human-monitor-command", **{"command-line": line})


def _guest_writes(daemon: Daemon) -> float:
    """Writes per second; each goes to a cluster of its own."""
    daemon.execute("blockdev-add", **new_image(daemon, "disk", GIB))
    requests = [_write(number * WRITE) for number in range(WRITES)]
    began = time.perf_counter()
    daemon.stream(requests)
    return WRITES / (time.perf_counter() - began)


def _rewrites(daemon: Daemon) -> float:
    """Writes per second to clusters that are there already."""
    _guest_writes(daemon)
    requests = [_write(number * WRITE) for number in range(WRITES)]
    began = time.perf_counter()
    daemon.stream(requests)
    return WRITES / (time.perf_counter() - began)


def _open_chain(daemon: Daemon) -> float:
    """Milliseconds to open an image with `CHAIN` below it, by the names in their headers."""
    options = new_image(daemon, "0", GIB)
    for number in range(1, CHAIN + 1):
        below = f"{daemon.folder}/{number - 1}"
        more = {"backing-file": below, "backing-fmt": "qcow2"}
        options = new_image(daemon, str(number), GIB, **more)
    began = time.perf_counter()
    daemon.execute("blockdev-add", **options)
    return (time.perf_counter() - began) * 1e3


def _read_chain(daemon: Daemon) -> float:
    """Microseconds for a read of a cluster that the lowest of many images holds."""
    daemon.execute("blockdev-add", **new_image(daemon, "0", GIB))
    daemon.stream([_write(0)])
    daemon.execute("blockdev-del", **{"node-name": "n0"})
    options: dict[str, Any] = {}
    for number in range(1, SHORT_CHAIN + 1):
        below = f"{daemon.folder}/{number - 1}"
        more = {"backing-file": below, "backing-fmt": "qcow2"}
        options = new_image(daemon, str(number), GIB, **more)
    daemon.execute("blockdev-add", **options)
    line = f'qemu-io n0 "read -q 0 {WRITE}"'
    requests = [request("human-monitor-command", **{"command-line": line})] * READS
    began = time.perf_counter()
    daemon.stream(requests)
    return (time.perf_counter() - began) / READS * 1e6


def _scattered(daemon: Daemon) -> float:
    """MiB resident with 1000 clusters written all over a disk of 16 TiB."""
    daemon.execute("blockdev-add", **new_image(daemon, "disk", 16 * TIB))
    daemon.stream([_write(number * 16 * GIB) for number in range(1000)])
    return daemon.resident_bytes() / (1 << 20)


def _measures(where: str) -> tuple[Measure, ...]:
    return (
        Measure(f"64 KiB writes, new clusters, {where}", "1/s", _guest_writes, True, 1),
        Measure(f"64 KiB writes, in place, {where}", "1/s", _rewrites, True, 1),
        Measure(f"open a chain of {CHAIN}, {where}", "ms", _open_chain, False, 1),
        Measure(f"a read, chain of {SHORT_CHAIN}, {where}", "us", _read_chain),
        Measure(f"16 TiB qcow2, 1000 clusters, {where}", "MiB", _scattered, limit=128),
    )


HOST_IMAGES: Final = _measures("host")
"""Images are files of the host, for both."""

MEMORY_IMAGES: Final = _measures("memory")
"""Images are in memory: qmpd's own storage, and a file system in memory for QEMU."""

"""What is measured of chains: snapshots, merging them back, mirrors."""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.daemon import Daemon, request
from benchmarks.images import new_image
from benchmarks.jobs import MIB, SIZE
from benchmarks.measures import Measure

LENGTH: Final = 50
GROUP: Final = 100


def _add(daemon: Daemon, name: str, size: int, driver: str = "qcow2") -> None:
    options = new_image(daemon, name, size, driver=driver)
    daemon.execute("blockdev-add", **{**options, "node-name": name})


def _hold(daemon: Daemon, nodes: list[str]) -> None:
    """Export nodes: what nobody uses does not outlive its snapshot."""
    path = f"{daemon.folder}/nbd.sock"
    daemon.execute("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
    for node in nodes:
        daemon.execute("block-export-add", type="nbd", id=node, **{"node-name": node})


def _snapshot(daemon: Daemon, node: str, overlay: str) -> dict[str, Any]:
    return {
        "node-name": node,
        "snapshot-file": f"{daemon.folder}/{overlay}",
        "snapshot-node-name": overlay,
        "format": "qcow2",
    }


def _build(daemon: Daemon) -> float:
    """Seconds to put a chain of snapshots on an image, one after the other."""
    _add(daemon, "o0", MIB)
    _hold(daemon, ["o0"])
    began = time.perf_counter()
    for number in range(1, LENGTH + 1):
        arguments = _snapshot(daemon, f"o{number - 1}", f"o{number}")
        daemon.execute("blockdev-snapshot-sync", **arguments)
    return time.perf_counter() - began


def _chain(daemon: Daemon) -> float:
    """Milliseconds for a snapshot in a chain that grows."""
    return _build(daemon) / LENGTH * 1e3


def _commit(daemon: Daemon) -> float:
    """Milliseconds to merge the whole chain below the active image into its base."""
    _build(daemon)
    options = {"job-id": "j", "device": f"o{LENGTH}", "top-node": f"o{LENGTH - 1}"}
    return daemon.run_job("block-commit", **options, **{"base-node": "o0"}) * 1e3


def _transaction(daemon: Daemon) -> float:
    """Milliseconds for snapshots of many disks in one transaction."""
    for number in range(GROUP):
        _add(daemon, f"d{number}", MIB)
    _hold(daemon, [f"d{number}" for number in range(GROUP)])
    actions = [
        {"type": "blockdev-snapshot-sync", "data": _snapshot(daemon, f"d{n}", f"s{n}")}
        for n in range(GROUP)
    ]
    asked = request("transaction", actions=actions)
    began = time.perf_counter()
    daemon.answer(asked)
    return (time.perf_counter() - began) * 1e3


def _mirror(daemon: Daemon) -> float:
    """MiB per second until a mirror of an image full of data is ready, in its second run."""
    daemon.execute("blockdev-add", driver="null-co", size=SIZE, **{"node-name": "data"})
    _add(daemon, "source", SIZE, "raw")
    _add(daemon, "target", SIZE, "raw")
    backup = {"job-id": "j", "device": "data", "target": "source", "sync": "full"}
    daemon.run_job("blockdev-backup", **backup)
    options = {"job-id": "j", "device": "source", "target": "target", "sync": "full"}
    seconds = 0.0
    for _ in range(2):
        seconds = daemon.run_job("blockdev-mirror", until="ready", **options)
        daemon.run_job("job-cancel", id="j")
    return SIZE / MIB / seconds


CHAINS: Final = (
    Measure(f"a snapshot, chain of {LENGTH}", "ms", _chain, target=0.6),
    Measure(f"commit of a chain of {LENGTH}", "ms", _commit, target=1),
    Measure(f"transaction of {GROUP} snapshots", "ms", _transaction, target=1),
    Measure("mirror, raw", "MB/s", _mirror, more_is_better=True, target=1.2),
)
"""On the storage daemons; images are files of the host."""

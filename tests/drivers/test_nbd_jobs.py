"""Jobs whose targets and sources are behind NBD servers of every kind, beside the real QEMU's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.drivers.pair import SIDES, Drivers
from tests.support.nbd_servers import EXPORT, serve, stop

NAME = f"nbd+unix:///{EXPORT}?socket=s"
UNIX = {"type": "unix", "path": "s"}
EVENTS = ("JOB_STATUS_CHANGE", "BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")


@pytest.fixture(params=("qemu-nbd", "qmpd"))
def disk(pair: Drivers, request: pytest.FixtureRequest) -> Iterator[Drivers]:
    """A disk with something in it, and an empty image behind a server on each side."""
    pair.apart = frozenset(EVENTS)
    for side in SIDES:
        pair.events[side].clear()
    servers = [serve(request.param, pair.scratch / side, "b.raw") for side in SIDES]
    pair.add("file", "f", filename="a.raw")
    pair.add("raw", "d", file="f")
    pair.io("d", "write -P 7 100k 300k", "write -P 8 1000k 24k")
    yield pair
    pair.apart = frozenset(EVENTS)
    try:
        pair.clear()
    finally:
        for server in servers:
            stop(server)


def wait_for(pair: Drivers, name: str) -> None:
    """Wait until both have said that the job is there; what they say of it is the same."""
    found = []
    for side in SIDES:
        while not any(name in str(event) for event in pair.events[side]):
            program = pair.real if side == "real" else pair.ours
            pair.events[side].append(program.message())
        (event,) = (event for event in pair.events[side] if name in str(event))
        pair.events[side].remove(event)
        found.append(event["data"] if isinstance(event, dict) else dict(event)["data"])
    assert found[0] == found[1]


def test_a_mirror_into_a_server(disk: Drivers) -> None:
    disk.execute("blockdev-add", driver="nbd", server=UNIX, export=EXPORT, **{"node-name": "t"})
    job = {"job-id": "j", "device": "d", "target": "t", "sync": "full"}
    disk.execute("blockdev-mirror", **job)
    wait_for(disk, "BLOCK_JOB_READY")
    disk.execute("block-job-complete", device="j")
    wait_for(disk, "BLOCK_JOB_COMPLETED")
    disk.look()
    disk.io("t", "read -P 7 100k 300k", "read -P 0 0 100k", "map")
    disk.same_bytes("a.raw", "b.raw")
    contents = (disk.scratch / "ours" / "b.raw").read_bytes()
    assert contents[100 << 10 : 400 << 10] == b"\7" * (300 << 10)


def test_a_mirror_by_name(disk: Drivers) -> None:
    job: dict[str, Any] = {"job-id": "j", "device": "d", "target": NAME, "mode": "existing"}
    disk.execute("drive-mirror", **job, sync="full", format="raw", **{"node-name": "t"})
    wait_for(disk, "BLOCK_JOB_READY")
    disk.execute("query-named-block-nodes", flat=True)
    disk.io("d", "write -P 9 500k 64k")
    disk.execute("block-job-cancel", device="j")
    wait_for(disk, "BLOCK_JOB_COMPLETED")
    disk.same_bytes("a.raw", "b.raw")


def test_a_backup_by_name(disk: Drivers) -> None:
    job: dict[str, Any] = {"job-id": "j", "device": "d", "target": NAME, "mode": "existing"}
    disk.execute("drive-backup", **job, sync="full", format="raw", speed=1)
    disk.io("d", "write -P 9 500k 64k")
    disk.execute("block-job-set-speed", device="j", speed=0)
    wait_for(disk, "BLOCK_JOB_COMPLETED")
    disk.same_bytes("a.raw", "b.raw")


def test_a_server_makes_no_images(disk: Drivers) -> None:
    job: dict[str, Any] = {"job-id": "j", "device": "d", "sync": "full", "mode": "absolute-paths"}
    for target in ("nbd+unix:///nope?socket=s", "nbd:unix:nope"):
        disk.execute("drive-mirror", **job, target=target, format="raw")
    disk.execute("drive-mirror", **job, target=NAME, format="raw")
    wait_for(disk, "BLOCK_JOB_READY")
    disk.execute("block-job-cancel", device="j")
    wait_for(disk, "BLOCK_JOB_COMPLETED")
    disk.same_bytes("a.raw", "b.raw")


def test_an_image_in_a_server(disk: Drivers) -> None:
    job: dict[str, Any] = {"job-id": "j", "device": "d", "sync": "none", "mode": "absolute-paths"}
    disk.execute("drive-backup", **job, target=NAME, format="qcow2")
    disk.execute("query-named-block-nodes")
    disk.io("d", "write -P 1 0 64k")
    disk.execute("block-job-cancel", device="j")
    wait_for(disk, "BLOCK_JOB_CANCELLED")
    disk.same_bytes("a.raw", "b.raw")

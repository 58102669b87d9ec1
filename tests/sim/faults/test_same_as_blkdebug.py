"""What `vm.faults.fail` makes clients see is what the real QEMU shows with blkdebug.

A table: operation x errno x driver x policy.  The fault is at the node of a file; in QEMU it is a
blkdebug node on top of that file.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.faults.sides import PATIENCE, Fault, Ours, Real, Side, ended, pretty
from tests.support.normal import normal_text
from tests.support.programs import qemu_missing

ERRORS = ("EIO", "ENOSPC", "EPERM")
POLICIES = ("report", "ignore", "enospc", "stop")
OPERATIONS = ("pread", "pwrite", "pwrite_zeroes", "pdiscard", "flush")
Request = tuple[str, int, int]
"""What a guest asks for: operation, offset, length."""

SIZE = 1 << 20
CLUSTER = 65536

STATS = (
    *("rd_operations", "wr_operations", "flush_operations", "unmap_operations"),
    *("failed_rd_operations", "failed_wr_operations", "failed_flush_operations"),
    *("failed_unmap_operations", "invalid_rd_operations", "invalid_wr_operations"),
    *("rd_bytes", "wr_bytes", "unmap_bytes"),
)


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[list[Side]]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    started: list[Side] = []
    for kind, name in ((Real, "real"), (Ours, "ours")):
        folder = tmp_path / name
        folder.mkdir()
        started.append(kind(folder))
    yield started
    try:
        assert [side.unused() for side in started] == [set(), set()], "they compare nothing"
    finally:
        for side in started:
            side.close()


def make_raw(side: Side, name: str, fill: bytes = b"y") -> str:
    """An image full of a byte; a hole without one."""
    (side.folder / name).write_bytes(fill * SIZE)
    os.truncate(side.folder / name, SIZE)
    return name


def make_qcow2(side: Side, name: str) -> str:
    """An image whose first two clusters are allocated; the data of the first is at 0x50000."""
    path = str(side.folder / name)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(SIZE)], check=True)
    write = "write -q -P 0x79 0 128k"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, path], check=True)
    return name


def disk_of(side: Side, driver: str, number: int, fault: Fault) -> dict[str, Any]:
    """A node with a file below it that has a fault."""
    name = f"{driver}{number}"
    make = make_raw if driver == "raw" else make_qcow2
    file = side.file(f"f{number}", make(side, f"{name}.img"), fault)
    return {"driver": driver, "node-name": f"n{number}", "discard": "unmap", "file": file}


def one_request(
    side: Side,
    number: int,
    policy: str,
    node: str,
    request: Request,
    model: str = "virtio-blk-pci",
) -> dict[str, Any]:
    """A request of the guest of `node`, and all that can be seen of what becomes of it.

    :param model: of the device that the guest has the node by
    """
    device, slot = f"v{number}", number + 3
    is_scsi = model == "scsi-hd"
    place = {"scsi-id": number, "bus": "hba.0"} if is_scsi else {"addr": f"{slot:#x}"}
    policies = {"rerror": policy, "werror": policy}
    added = side.execute("device_add", driver=model, id=device, drive=node, **policies, **place)
    seen: dict[str, Any] = {"added": added}
    if "error" in added:
        return seen
    disk = side.scsi_disk(device, number) if is_scsi else side.disk(device, slot)
    if request[0] == "flush":
        disk.begin("pwrite", 4096, 4096)
        seen["written"] = ended(side, disk)
    disk.begin(*request)
    seen["status"] = ended(side, disk)
    seen |= look(side, device)
    if seen["status"] is None:
        seen["cont"] = side.execute("cont")
        seen["status later"] = ended(side, disk)
        seen["later"] = look(side, device)
    return seen


def is_of(entry: dict[str, Any], device: str) -> bool:
    """Whether an entry of query-block is about a device."""
    return device in entry.get("qdev", "").split("/")


def look(side: Side, device: str) -> dict[str, Any]:
    entries = side.execute("query-block")["return"]
    (entry,) = [entry for entry in entries if is_of(entry, device)]
    stats = side.execute("query-blockstats")["return"]
    (figures,) = [entry["stats"] for entry in stats if is_of(entry, device)]
    return {
        "events": side.events(),
        "query-status": side.execute("query-status"),
        "query-block": {name: value for name, value in entry.items() if name != "inserted"},
        "query-blockstats": {name: figures[name] for name in STATS},
    }


def same(observed: list[Any], what: object) -> None:
    real, ours = observed
    assert pretty(ours) == pretty(real), what


def request_for(driver: str, operation: str) -> Request:
    """The guest's request that leads to the operation on the file."""
    if operation == "flush":
        return operation, 0, 0
    if driver == "qcow2" and operation == "pdiscard":
        return operation, CLUSTER, CLUSTER
    if driver == "qcow2" and operation == "pwrite_zeroes":
        return "pwrite", 3 * CLUSTER, 4096  # the rest of a new cluster is zeroed
    return operation, 4096, 4096


CASES = [(operation, error) for operation in OPERATIONS for error in ERRORS]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("driver", ["raw", "qcow2"])
def test_requests_of_a_guest(sides: list[Side], driver: str, policy: str) -> None:
    for number, (operation, error) in enumerate(CASES):
        # an image is read when it is opened
        data = 0 if driver == "raw" else 0x50000
        sector = (data + 4096) // 512 if operation == "pread" else None
        fault = Fault(operation, error, sector)
        observed = []
        for side in sides:
            answer = side.execute("blockdev-add", **disk_of(side, driver, number, fault))
            assert answer == {"return": {}}
            side.events()
            request = request_for(driver, operation)
            observed.append(one_request(side, number, policy, f"n{number}", request))
        same(observed, (driver, policy, operation, error))


@pytest.mark.parametrize("policy", POLICIES)
def test_requests_to_a_scsi_disk(sides: list[Side], policy: str) -> None:
    for side in sides:
        side.execute("device_add", driver="virtio-scsi-pci", id="hba", addr="0x3")
    for number, (operation, error) in enumerate(CASES):
        fault = Fault(operation, error, 8 if operation == "pread" else None)
        observed = []
        for side in sides:
            answer = side.execute("blockdev-add", **disk_of(side, "raw", number, fault))
            assert answer == {"return": {}}
            side.events()
            request = request_for("raw", operation)
            observed.append(
                one_request(side, number, policy, f"n{number}", request, model="scsi-hd")
            )
        same(observed, (policy, operation, error))


BROKEN = ("break-guest-write", "break-snapshot")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_write_that_is_to_be_copied_before(sides: list[Side], policy: str) -> None:
    cases = [(s, e, b) for s in ("source", "target") for e in ERRORS for b in BROKEN]
    for number, (place, error, broken) in enumerate(cases):
        # the device reads the first sector of its disk when it is made
        fault = Fault("pread", error, 16) if place == "source" else Fault("pwrite", error)
        observed = []
        for side in sides:
            for name in ("source", "target"):
                file = side.file(
                    f"{name}-file{number}",
                    make_raw(side, f"{name}{number}.img"),
                    fault if name == place else None,
                )
                node = {"driver": "raw", "node-name": f"{name}{number}", "file": file}
                assert side.execute("blockdev-add", **node) == {"return": {}}
            filter_node = {
                "driver": "copy-before-write",
                "node-name": f"cbw{number}",
                "file": f"source{number}",
                "target": f"target{number}",
                "on-cbw-error": broken,
            }
            assert side.execute("blockdev-add", **filter_node) == {"return": {}}
            side.events()
            request = "pwrite", 4096, 4096
            observed.append(one_request(side, number, policy, f"cbw{number}", request))
        same(observed, (policy, place, error, broken))


def run_job(side: Side, command: str, **arguments: Any) -> dict[str, Any]:
    """A job with all that it tells, resumed and completed when it waits for that."""
    side.events()
    seen: dict[str, Any] = {
        "answer": side.execute(command, job_id="j", auto_dismiss=False, **arguments)
        if command == "blockdev-backup"
        else side.execute(command, job_id="j", **arguments)
    }
    seen["steps"] = steps = []
    seen["events"] = events = []
    completed = False
    if "error" in seen["answer"]:
        return seen
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        events += side.events()
        jobs = side.execute("query-block-jobs")["return"]
        if not jobs or jobs[0]["status"] == "concluded":
            break
        (job,) = jobs
        if job["status"] == "paused" and job["io-status"] != "ok":
            steps.append(job)
            steps.append(side.execute("block-job-resume", device="j"))
        elif job["status"] == "ready" and not completed:
            completed = True
            steps.append(side.execute("job-complete", id="j"))
    else:
        raise AssertionError(("the job does not end", side.execute("query-jobs")))
    events += side.events()
    seen["jobs"] = side.execute("query-jobs")
    if command == "blockdev-backup":
        seen["dismissed"] = side.execute("job-dismiss", id="j")
    return seen


JOB_CASES = [
    (place, operation, error)
    for place, operation in (
        ("source", "pread"),
        ("target", "pwrite"),
        ("target", "pwrite_zeroes"),
        ("target", "flush"),
    )
    for error in ERRORS
]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("command", ["blockdev-mirror", "blockdev-backup"])
def test_jobs(sides: list[Side], command: str, policy: str) -> None:
    for number, (place, operation, error) in enumerate(JOB_CASES):
        if (command, operation) == ("blockdev-backup", "flush"):
            continue  # its target is flushed when it is closed, not by the job
        observed = []
        for side in sides:
            for name in ("source", "target"):
                fill = b"" if (name, operation) == ("source", "pwrite_zeroes") else b"y"
                file = side.file(
                    f"{name}-file{number}",
                    make_raw(side, f"{name}{number}.img", fill),
                    Fault(operation, error) if name == place else None,
                )
                node = {"driver": "raw", "node-name": f"{name}{number}", "file": file}
                assert side.execute("blockdev-add", **node) == {"return": {}}
            observed.append(
                run_job(
                    side,
                    command,
                    device=f"source{number}",
                    target=f"target{number}",
                    sync="full",
                    on_source_error=policy,
                    on_target_error=policy,
                )
            )
        same(observed, (command, policy, place, operation, error))


COMMANDS = {
    "pread": "read",
    "pwrite": "write -P 1",
    "pwrite_zeroes": "write -z",
    "pdiscard": "discard",
}
"""What qemu-io does."""


def commands_for(driver: str, operation: str) -> list[str]:
    """The same twice, so that what comes of a failure is seen as well."""
    if operation == "flush":
        return ["write -P 1 4096 4096", "flush"] * 2
    asked, offset, length = request_for(driver, operation)
    return [f"{COMMANDS[asked]} {offset} {length}"] * 2


@pytest.mark.parametrize("driver", ["raw", "qcow2"])
def test_clients_of_an_export(sides: list[Side], driver: str) -> None:
    for side in sides:
        side.listen()
        path = str(side.folder / "nbd")
        address = {"type": "unix", "data": {"path": path}}
        assert side.execute("nbd-server-start", addr=address, handshake_max_seconds=0) == {
            "return": {}
        }
    for number, (operation, error) in enumerate(CASES):
        data = 0 if driver == "raw" else 0x50000
        sector = (data + 4096) // 512 if operation == "pread" else None
        fault = Fault(operation, error, sector)
        observed = []
        for side in sides:
            answer = side.execute("blockdev-add", **disk_of(side, driver, number, fault))
            assert answer == {"return": {}}
            export = {"type": "nbd", "id": f"e{number}", "node-name": f"n{number}"}
            side.execute("block-export-add", writable=True, **export)
            uri = f"nbd+unix:///n{number}?socket={side.folder / 'nbd'}"
            words = [word for line in commands_for(driver, operation) for word in ("-c", line)]
            said = side.program("qemu-io", "-f", "raw", "-d", "unmap", *words, uri)
            observed.append([normal_text(said, str(side.folder)), side.events()])
        same(observed, (driver, operation, error))


GEOMETRY = ("cyls", "heads", "secs")


def test_what_a_device_reads_of_its_disk(sides: list[Side]) -> None:
    tables = [(0, 0, 0), (15, 63, 1), (254, 63, 1), (31, 32, 1), (15, 0, 1), (7, 17, 0)]
    for number, (head, sector, count) in enumerate(tables):
        for fault in (Fault("pread", "EIO", 0), None):
            observed = []
            name = f"d{number}{'' if fault else 'x'}"
            for side in sides:
                image = bytearray(64 << 20 >> 3)
                entry = bytes([0, 0, 0, 0, 0x83, head, sector, 0]) + bytes(4)
                image[0x1BE:0x1CE] = entry + count.to_bytes(4, "little")
                image[510:512] = b"\x55\xaa"
                (side.folder / name).write_bytes(image)
                file = side.file(f"f{name}", name, fault)
                node = {"driver": "raw", "node-name": f"n{name}", "file": file}
                assert side.execute("blockdev-add", **node) == {"return": {}}
                side.execute("device_add", driver="virtio-blk-pci", id=name, drive=f"n{name}")
                path = f"/machine/peripheral/{name}/virtio-backend"
                observed.append([side.execute("qom-get", path=path, property=p) for p in GEOMETRY])
            same(observed, (head, sector, count, fault))

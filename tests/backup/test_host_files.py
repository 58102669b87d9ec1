"""Jobs that copy from file to file of the host, where threads do so without a look at the data.

A daemon copies, in real time; what it has copied is read by machines inside the test.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import qmpd
from tests.exhaustion.beside import Client
from tests.support.programs import QMPD_STORAGE_DAEMON
from tests.support.until import until

MIB = 1 << 20
SIZE = 9 * MIB + 4096
"""Not a whole number of clusters."""


def image(path: Path, image_format: str) -> dict[str, Any]:
    return {"driver": image_format, "file": {"driver": "file", "filename": str(path)}}


def create(vm: qmpd.Machine, path: Path, image_format: str, **more: Any) -> None:
    """Make an image of `SIZE` bytes."""
    path.touch()
    options: dict[str, Any] = {"driver": "file", "filename": str(path), "size": 0}
    if image_format == "raw":
        options["size"] = SIZE
    else:
        options = {"driver": image_format, "file": options, "size": SIZE, **more}
        options["file"].pop("size")
    vm.cmd("blockdev-create", {"job-id": "c", "options": options})
    vm.job("c").wait()
    assert vm.job("c").error is None
    vm.cmd("job-dismiss", id="c")


def fill(vm: qmpd.Machine, path: Path, image_format: str, seed: int) -> bytes:
    """Write all over an image: clusters out of order, zeroes, holes, and what is overwritten."""
    chance = random.Random(seed)
    data = bytearray(SIZE)
    vm.cmd("blockdev-add", {**image(path, image_format), "node-name": "filled"})
    disk = vm.disk("filled")
    for _ in range(60):
        start = chance.randrange(0, SIZE - 4096, 4096)
        length = min(SIZE - start, chance.choice([4096, 65536, 300 << 10, 2 * MIB]))
        if chance.randrange(5):
            piece = chance.randbytes(length)
            disk.write(start, piece)
        else:
            piece = bytes(length)
            disk.write_zeroes(start, length)
        data[start : start + length] = piece
    disk.flush()
    vm.cmd("blockdev-del", node_name="filled")
    return bytes(data)


@contextmanager
def daemon(folder: Path) -> Iterator[Client]:
    """A storage daemon, and a client of its monitor."""
    argv = [*QMPD_STORAGE_DAEMON, "--pidfile", "pid"]
    argv += ["--chardev", "socket,id=m,path=m,server=on,wait=off", "--monitor", "chardev=m"]
    process = subprocess.Popen(argv, cwd=folder)
    try:
        until(lambda: process.poll() is not None or (folder / "pid").exists(), seconds=30)
        client = Client(folder / "m")
        yield client
        client.execute("quit")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


COPIED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("qcow2", {}, "qcow2", {}),
    ("qcow2", {"cluster-size": 4096}, "qcow2", {}),
    ("qcow2", {"cluster-size": MIB}, "qcow2", {"cluster-size": 131072}),
    ("qcow2", {"extended-l2": True}, "qcow2", {"extended-l2": True}),
    ("qcow2", {}, "raw", {}),
    ("raw", {}, "qcow2", {"lazy-refcounts": True}),
]


@pytest.mark.parametrize(
    ("case", "command"),
    [
        *((case, "blockdev-backup") for case in range(len(COPIED))),
        (0, "blockdev-mirror"),
        (4, "blockdev-mirror"),
    ],
)
def test_content(case: int, command: str, tmp_path: Path) -> None:
    source, of_source, target, of_target = COPIED[case]
    paths = {name: tmp_path / name for name in ("source", "target")}
    with qmpd.Machine(storage="host") as vm:
        create(vm, paths["source"], source, **of_source)
        create(vm, paths["target"], target, **of_target)
        fill(vm, paths["target"], target, case)
        data = fill(vm, paths["source"], source, case + 100)
    with daemon(tmp_path) as client:
        for name, image_format in (("source", source), ("target", target)):
            options = {**image(paths[name], image_format), "node-name": name}
            assert client.execute("blockdev-add", **options) == {"return": {}}
        nodes = {"device": "source", "target": "target", "sync": "full"}
        assert client.execute(command, job_id="j", **nodes) == {"return": {}}
        if command == "blockdev-mirror":
            until(lambda: client.execute("query-jobs")["return"][0]["status"] == "ready")
            client.execute("job-complete", id="j")
        until(lambda: client.execute("query-jobs")["return"] == [])
    with qmpd.Machine(storage="host") as vm:
        for name, image_format in (("source", source), ("target", target)):
            vm.cmd("blockdev-add", {**image(paths[name], image_format), "node-name": name})
            assert vm.disk(name).read(0, SIZE) == data


def test_a_target_that_may_not_grow(tmp_path: Path) -> None:
    """It is a write that has failed, and what was taken for it is given back."""
    paths = {name: tmp_path / name for name in ("source", "target")}
    with qmpd.Machine(storage="host") as vm:
        for path in paths.values():
            create(vm, path, "qcow2")
        vm.cmd("blockdev-add", {**image(paths["source"], "qcow2"), "node-name": "source"})
        vm.disk("source").write(0, os.urandom(8 * MIB))
    with daemon(tmp_path) as client:
        limit = 4 * MIB
        pid = int((tmp_path / "pid").read_text())
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))
        for name, path in paths.items():
            client.execute("blockdev-add", **image(path, "qcow2"), node_name=name)
        nodes = {"device": "source", "target": "target", "sync": "full"}
        client.execute("blockdev-backup", job_id="j", on_target_error="stop", **nodes)
        job = {}

        def has_stopped() -> bool:
            nonlocal job
            job = client.execute("query-block-jobs")["return"][0]
            return bool(job["status"] == "paused")

        until(has_stopped)
        assert job["io-status"] == "failed"
        client.execute("job-cancel", id="j")
        until(lambda: client.execute("query-jobs")["return"] == [])
    assert subprocess.run(["qemu-img", "check", "-q", str(paths["target"])]).returncode == 0


def test_a_target_whose_file_has_bounds(tmp_path: Path) -> None:
    """A raw node below the format lets nothing be written behind its end."""
    paths = {name: tmp_path / name for name in ("source", "target")}
    with qmpd.Machine(storage="host") as vm:
        for name, path in paths.items():
            create(vm, path, "qcow2")
            vm.cmd("blockdev-add", {**image(path, "qcow2"), "node-name": name})
            vm.disk(name).write(0, os.urandom(8 * MIB))
    size = paths["target"].stat().st_size
    with daemon(tmp_path) as client:
        target = image(paths["target"], "qcow2")
        target["file"] = {"driver": "raw", "size": 4 * MIB, "file": target["file"]}
        client.execute("blockdev-add", **image(paths["source"], "qcow2"), node_name="source")
        client.execute("blockdev-add", **target, node_name="target")
        nodes = {"device": "source", "target": "target", "sync": "full"}
        client.execute("blockdev-mirror", job_id="j", on_target_error="enospc", **nodes)
        until(lambda: client.execute("query-jobs")["return"][0]["status"] == "paused")
        (job,) = client.execute("query-block-jobs")["return"]
        assert job["io-status"] == "nospace"
        assert job["offset"] < 5 * MIB
        client.execute("block-job-cancel", device="j", force=True)
        until(lambda: client.execute("query-jobs")["return"] == [])
    assert paths["target"].stat().st_size == size

"""`vm.crash()`: the end of a process that nobody has told of it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import MachineClosed

QCOW2 = {"path": "/a.qcow2", "format": "qcow2", "size": "16M"}


def test_what_was_written_is_there_and_bitmaps_stay_in_use() -> None:
    with qmpd.Machine(images={"disk0": QCOW2}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="kept", persistent=True)
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="not kept")
        vm.disk("disk0").write(0, b"flushed")
        vm.disk("disk0").flush()
        vm.restart()
        assert vm.bitmap("disk0", "kept").count == 65536
        vm.disk("disk0").write(1 << 20, b"more")
        vm.crash()
        assert vm.closed
        with pytest.raises(MachineClosed):
            vm.cmd("query-status")
        with pytest.raises(MachineClosed):
            vm.disk("disk0").read(0, 1)
        vm.restart()
        assert vm.disk("disk0").read(0, 7) == b"flushed"
        assert vm.bitmap("disk0", "kept").inconsistent
        assert [bitmap["name"] for bitmap in vm.nodes["disk0"]["dirty-bitmaps"]] == ["kept"]


def test_no_event_and_no_end_of_jobs() -> None:
    with qmpd.Machine(disks={"disk0": "4M", "target": "4M"}) as vm:
        vm.disk("disk0").write(0, b"x" * (4 << 20))
        copy: dict[str, Any] = {
            "device": "disk0",
            "target": "target",
            "sync": "full",
            "speed": 1 << 20,
        }
        vm.cmd("blockdev-backup", job_id="j", **copy)
        vm.get_qmp_events()
        vm.crash()
        assert vm.get_qmp_events() == []
        vm.restart()
        assert vm.cmd("query-jobs") == []
        assert vm.disk("target").read(0, 1) == b"x"
        assert vm.disk("target").read((4 << 20) - 1, 1) == b"\0"


def test_a_client_at_a_socket_sees_the_end() -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert client.recv(100)
            vm.crash()
            while client.recv(65536):
                pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            vm.restart()
            assert client.recv(100).startswith(b'{"QMP"')


def test_an_image_of_the_host_is_let_go_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    image = {"path": str(path), "format": "qcow2", "size": "16M"}
    with qmpd.Machine(images={"disk0": image}, storage="host") as vm:
        vm.disk("disk0").write(0, b"y" * 200_000)
        before = path.read_bytes()
        vm.crash()
        assert path.read_bytes() == before
        vm.restart()
        vm.disk("disk0").write(1 << 20, b"z")


async def test_who_waits_on_an_event_loop_is_told() -> None:
    async with aio.Machine(disks={"disk0": "4M", "target": "4M"}, clock="held") as vm:
        await vm.disk("disk0").write(0, b"x" * (4 << 20))
        vm.faults.fail("pread", node="disk0", delay=3600)
        reading = asyncio.create_task(vm.disk("disk0").read(0, 1))
        waiting = asyncio.create_task(vm.event_wait("STOP", timeout=None))
        await asyncio.sleep(0)
        vm.crash()
        for task in (reading, waiting):
            with pytest.raises(MachineClosed):
                await asyncio.wait_for(task, 5)
        await vm.restart()
        assert len(vm.faults) == 1
        vm.faults.clear()
        assert await vm.disk("disk0").read(0, 1) == b"x"


def test_it_is_in_the_journal() -> None:
    with qmpd.Machine() as vm:
        vm.crash()
        vm.restart()
        whats = [entry.data["what"] for entry in vm.journal.filter("machine") if entry.data]
        assert whats == ["killed", "restarted"]


def test_faults_stay_over_a_restart_and_go_with_a_reset() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        fault = vm.faults.fail("pread", node="disk0", count=2)
        vm.crash()
        vm.restart()
        with pytest.raises(qmpd.errors.BlockIOError):
            vm.disk("disk0").read(0, 1)
        assert fault.hits == 1
        vm.reset()
        assert list(vm.faults) == []
        vm.disk("disk0").read(0, 1)

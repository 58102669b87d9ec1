"""A machine behind a socket, in a thread, while its program goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import QMPClient

import qmpd
from qmpd import errors

MIB = 1 << 20


class Client:
    """A client that reads and writes lines."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(20)
        self.socket.connect(address)
        self.lines = self.socket.makefile("r")
        assert "QMP" in self.message()
        self.ask("qmp_capabilities")

    def message(self) -> Any:
        return json.loads(self.lines.readline())

    def ask(self, command: str, **arguments: Any) -> Any:
        request = {"execute": command, "arguments": arguments}
        self.socket.sendall(json.dumps(request).encode())
        while "event" in (answer := self.message()):
            pass
        return answer

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


def test_client_and_program_see_the_same_machine() -> None:
    with qmpd.Machine(disks={"a": MIB}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="a", name="before")
        with vm.serve() as path:
            client = Client(path)
            assert client.ask("block-dirty-bitmap-add", node="a", name="m") == {"return": {}}
            vm.disk("a").write(0, b"x")
            assert vm.bitmap("a", "m").count == 65536
            assert vm.bitmap("a", "before").count == 65536
            vm.cmd("stop")
            assert client.message()["event"] == "STOP"
            client.ask("cont")
            resume = vm.event_wait("RESUME")
            assert resume is not None
            client.close()
        assert not Path(path).exists()
        assert not Path(path).parent.exists()
        assert vm.bitmap("a", "m").count == 65536


def test_the_program_may_wait_for_what_a_client_does() -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        client = Client(path)
        later = threading.Timer(0.05, lambda: client.ask("stop"))
        later.start()
        assert vm.event_wait("STOP", timeout=20) is not None
        later.join()
        with pytest.raises(TimeoutError, match=r"waited 0.01 s"):
            vm.event_wait("STOP", timeout=0.01)
        client.close()


def test_errors_come_back_to_the_program() -> None:
    with qmpd.Machine() as vm, vm.serve():
        with pytest.raises(errors.GenericError, match="Failed to find node"):
            vm.cmd("blockdev-del", node_name="nope")
        with pytest.raises(LookupError):
            vm.disk("nope").read(0, 1)
        with pytest.raises(LookupError):
            _ = vm.disk("nope").size


def test_a_path_of_ones_own_and_tcp(tmp_path: Path) -> None:
    with qmpd.Machine() as vm:
        with vm.serve(tmp_path / "qmp.sock") as path:
            assert path == str(tmp_path / "qmp.sock")
            assert Path(path).stat().st_mode & 0o777 == 0o600
            Client(path).close()
        assert not (tmp_path / "qmp.sock").exists()
        with vm.serve(tcp=("127.0.0.1", 0)) as (host, port):
            Client((host, port)).close()
        with pytest.raises(errors.GenericError, match="none"), vm.serve("/none/qmp.sock"):
            raise AssertionError
        assert vm.cmd("query-status")["running"]


def test_a_client_that_says_quit_ends_the_machine() -> None:
    with qmpd.Machine(disks={"a": MIB}) as vm:
        with vm.serve() as path:
            client = Client(path)
            client.ask("quit")
            assert vm.event_wait("SHUTDOWN", timeout=20) is not None
            client.close()
        assert vm.closed


def test_held_time_behind_a_socket() -> None:
    async def session(vm: qmpd.Machine, path: str) -> None:
        qmp = QMPClient("test")
        await qmp.connect(path)
        copy = {"job-id": "j", "device": "a", "target": "b", "sync": "full", "speed": MIB}
        await qmp.execute("blockdev-backup", copy)

        async def progress() -> int:
            jobs: Any = await qmp.execute("query-jobs")
            return int(jobs[0]["current-progress"])

        before = await progress()
        assert 0 < before < 4 * MIB
        for _ in range(3):
            assert await progress() == before
        vm.clock.advance(1.5)
        assert before < await progress() < 4 * MIB
        with qmp.listener("BLOCK_JOB_COMPLETED") as completed:
            vm.clock.advance(10)
            await completed.get()
        await qmp.disconnect()

    with qmpd.Machine(disks={"a": 4 * MIB, "b": 4 * MIB}, clock="held") as vm:
        vm.disk("a").write(0, b"x" * 4 * MIB)
        with vm.serve() as path:
            asyncio.run(asyncio.wait_for(session(vm, path), 30))
        assert vm.clock.now == 11.5


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_nbd_while_a_loop_runs_the_machine(tmp_path: Path) -> None:
    address = {"type": "unix", "data": {"path": str(tmp_path / "nbd.sock")}}
    # a virtual clock would jump to the end of the time that a client has for its handshake
    with qmpd.Machine(disks={"a": MIB}, clock="held") as vm:
        with pytest.raises(errors.GenericError, match="no sockets"):
            vm.cmd("nbd-server-start", addr=address)
        vm.disk("a").write(0, b"x" * 4096)
        with vm.serve():
            vm.cmd("nbd-server-start", addr=address)
            vm.cmd("block-export-add", type="nbd", id="e", node_name="a")
            uri = f"nbd+unix:///a?socket={tmp_path}/nbd.sock"
            shown = subprocess.run(
                ["qemu-img", "map", "-f", "raw", "--output=json", uri],
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert shown.returncode == 0, shown.stderr
            assert json.loads(shown.stdout)[0]["length"] == 4096


def test_the_end_of_serving_cuts_off_nbd_clients(tmp_path: Path) -> None:
    path = str(tmp_path / "nbd.sock")
    with qmpd.Machine(disks={"a": MIB}, clock="held") as vm:
        with vm.serve(), socket.socket(socket.AF_UNIX) as client:
            vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
            client.connect(path)
            assert client.recv(8) == b"NBDMAGIC"
            other = client.dup()
        with other:
            other.settimeout(10)
            while other.recv(1024):
                pass
        assert not os.path.exists(path)
        vm.cmd("nbd-server-stop")

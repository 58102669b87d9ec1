"""One test body, three doors: a machine in this process, a daemon's socket, the real QEMU."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd.testing import RemoteMachine, Server
from tests.support.programs import qemu_missing

Door = qmpd.Machine | RemoteMachine

QEMU = "qemu-system-x86_64 -nodefaults -display none -machine none".split()


@contextmanager
def _in_process(folder: Path) -> Iterator[Door]:
    with qmpd.Machine(storage="host") as vm:
        yield vm


@contextmanager
def _behind_a_socket(folder: Path) -> Iterator[Door]:
    with Server("--storage", "host") as server, RemoteMachine(server.path) as vm:
        yield vm


@contextmanager
def _real_qemu(folder: Path) -> Iterator[Door]:
    if (reason := qemu_missing()) is not None:
        pytest.skip(reason)
    path = str(folder / "qmp.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        # it listens before QEMU runs, so that nobody has to wait
        listener.bind(path)
        listener.listen()
        chardev = f"socket,id=qmp,server=on,wait=off,fd={listener.fileno()}"
        process = subprocess.Popen(
            [*QEMU, "-chardev", chardev, "-mon", "qmp,mode=control"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
    try:
        with RemoteMachine(path) as vm:
            yield vm
    finally:
        process.terminate()
        process.wait(20)


DOORS = {"in-process": _in_process, "socket": _behind_a_socket, "qemu": _real_qemu}


@pytest.fixture(params=list(DOORS))
def vm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """An empty machine whose images are files of the host, behind each door."""
    with DOORS[request.param](tmp_path) as machine:
        yield machine


@pytest.fixture(params=["socket", "qemu"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """The same, behind those doors that have a process of their own."""
    with DOORS[request.param](tmp_path) as machine:
        yield machine


class Disks:
    """Makes disks in a machine, and plays their guest.

    :param folder: where the images are
    """

    def __init__(self, vm: Door, folder: Path) -> None:
        self._vm = vm
        self._folder = folder

    def add(self, name: str, size: int = 1 << 20, driver: str = "raw", **options: Any) -> None:
        """Make an image, and open it as node `name`."""
        file = {"driver": "file", "filename": str(self._folder / name)}
        self._create({**file, "size": size if driver == "raw" else 0})
        if driver != "raw":
            self._create({"driver": driver, "file": file, "size": size, **options})
        self._vm.cmd("blockdev-add", {"driver": driver, "node-name": name, "file": file})

    def _create(self, options: dict[str, Any]) -> None:
        self._vm.cmd("blockdev-create", job_id="create", options=options)
        job = self._vm.job("create")
        assert job.wait() == "concluded"
        assert job.error is None
        self._vm.cmd("job-dismiss", id="create")
        # what this has told of itself is of no interest to the test
        assert self._vm.event_wait("JOB_STATUS_CHANGE", match={"data": {"status": "null"}})
        self._vm.get_qmp_events()

    def write(self, name: str, offset: int, length: int, byte: int = 0xCD) -> None:
        """Write as a guest."""
        said = self._vm.hmp(f'qemu-io {name} "write -q -P {byte} {offset} {length}"')
        assert said == ""

    def bytes_of(self, name: str) -> bytes:
        """What is in an image, when nothing is on its way to it any more."""
        assert self._vm.hmp(f'qemu-io {name} "flush"') == ""
        return (self._folder / name).read_bytes()


@pytest.fixture
def disks(vm: Door, tmp_path: Path) -> Disks:
    """Makes disks in the machine."""
    return Disks(vm, tmp_path)

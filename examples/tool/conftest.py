"""The machines that the tool is tested on: qmpd's, and a real QEMU where one is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import DISKS, SIZE, QemuGuest, World, served

import qmpd
from qmpd.testing import RemoteMachine

IMAGES = {disk: f"{disk}.qcow2,format=qcow2,size={SIZE}" for disk in DISKS}


@pytest.fixture
def vm() -> Iterator[qmpd.Machine]:
    """A machine with two disks on qcow2 images in memory."""
    with qmpd.Machine(images=IMAGES) as vm:
        yield vm


@pytest.fixture
def world(vm: qmpd.Machine, tmp_path: Path) -> Iterator[World]:
    """That machine behind a socket, and a directory for its backups."""
    with served(vm, tmp_path) as world:
        yield world


@pytest.fixture(params=["qmpd", "qemu"])
def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same, and then a real QEMU."""
    if request.param == "qmpd":
        yield request.getfixturevalue("world")
    elif shutil.which("qemu-system-x86_64") is None or shutil.which("qemu-img") is None:
        pytest.skip("QEMU is not installed")
    else:
        yield from _qemu(tmp_path)


def _qemu(directory: Path) -> Iterator[World]:
    argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
    for disk in DISKS:
        image = directory / f"{disk}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE)], check=True)
        file = f"file.driver=file,file.filename={image}"
        argv += ["-blockdev", f"driver=qcow2,node-name={disk},{file}"]
    for monitor in ("tool", "test"):
        argv += ["-qmp", f"unix:{directory}/{monitor}.sock,server=on,wait=off"]
    # it listens when the process that daemonizes it ends
    pid_file = directory / "pid"
    subprocess.run([*argv, "-daemonize", "-pidfile", pid_file], check=True)
    with RemoteMachine(f"{directory}/test.sock") as vm:
        try:
            yield World(f"{directory}/tool.sock", QemuGuest(vm), directory)
        finally:
            vm.qmp("quit")

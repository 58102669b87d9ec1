"""The machines that the tool is tested on: qmpd's, and a real QEMU where one is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import IMAGES, QemuGuest, QmpdGuest, World

import qmpd
from qmpd.testing import RealMachine


@pytest.fixture
def vm(qmpd_machine: qmpd.Machine) -> qmpd.Machine:
    """A machine with two disks on qcow2 images in memory."""
    return qmpd_machine


@pytest.fixture
def world(vm: qmpd.Machine, tmp_path: Path) -> Iterator[World]:
    """That machine behind a socket, and a directory for its backups."""
    with vm.serve() as path:
        yield World(path, QmpdGuest(vm), tmp_path)


@pytest.fixture(params=["qmpd", "qemu"])
def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same, and then a real QEMU with its disks in files."""
    if request.param == "qmpd":
        yield request.getfixturevalue("world")
        return
    try:
        real = RealMachine(images=IMAGES, version="10.0")
    except LookupError as error:
        pytest.skip(str(error))
    with real as vm, vm.serve() as path:
        yield World(path, QemuGuest(vm), tmp_path)

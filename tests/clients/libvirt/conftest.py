"""A private libvirtd, which has looked at both programs before the first test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd, libvirt_missing
from tests.clients.libvirt.world import PROGRAMS
from tests.support.programs import qemu_missing


@pytest.fixture(scope="session")
def programs() -> list[str]:
    """The programs that a story is played on: qmpd, and the real QEMU where it is installed."""
    return ["qmpd"] if qemu_missing() else ["qmpd", "qemu"]


@pytest.fixture(scope="session")
def libvirtd(tmp_path_factory: pytest.TempPathFactory, programs: list[str]) -> Iterator[Libvirtd]:
    missing = libvirt_missing()
    if missing is not None:
        pytest.skip(missing)
    place = tmp_path_factory.mktemp("libvirtd")
    daemon = Libvirtd(place)
    try:
        asked = [f"domcapabilities --emulatorbin {PROGRAMS[name]}" for name in programs]
        daemon.virsh("; ".join(["capabilities", *asked]), place)
        daemon.requests()
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path

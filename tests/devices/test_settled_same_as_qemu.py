"""Properties that a device settles when it is realized, on qmpd and on the real QEMU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.devices.boards import Boards
from tests.support.normal import normal
from tests.support.versions import MEASURED


@pytest.fixture(params=MEASURED)
def boards(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Boards]:
    boards = Boards(tmp_path, "pc", version=request.param)
    for side in ("real", "ours"):
        (tmp_path / side / "rom").write_bytes(bytes(5000))
        (tmp_path / side / "empty").touch()
        (tmp_path / side / "folder").mkdir()
    yield boards
    boards.close()


ROMS: list[dict[str, Any]] = [
    {"romfile": "rom"},
    {"romfile": "rom", "romsize": 8192},
    {"romfile": "rom", "romsize": 4096},
    {"romfile": "rom", "rombar": 0},
    {"romfile": "", "rombar": 0},
    {"romfile": "nosuch"},
    {"romfile": "empty"},
    {"romfile": "folder"},
    {"romsize": 65536},
    {"romsize": 65537},
    {"romsize": 0},
    {"romsize": 1, "addr": "1.0"},
    {"romsize": 3, "addr": "1.0"},
]


@pytest.mark.parametrize("rom", ROMS, ids=str)
def test_option_roms(boards: Boards, rom: dict[str, Any]) -> None:
    boards.device("virtio-rng-pci", id="r", **rom)
    for name in ("romfile", "romsize", "rombar"):
        boards.get("/machine/peripheral/r", name)
    boards.execute("query-pci")
    boards.execute("human-monitor-command", **{"command-line": "info qtree"})


def test_option_roms_of_adapters(boards: Boards) -> None:
    roms: list[dict[str, Any]] = [{"rombar": 0}, {"romfile": "rom"}, {"romfile": ""}]
    for number, rom in enumerate(roms):
        boards.device("virtio-net-pci", id=f"n{number}", **rom)
        for name in ("romfile", "romsize"):
            boards.get(f"/machine/peripheral/n{number}", name)
    boards.execute("query-pci")


@pytest.mark.parametrize("model", ["virtio-scsi-pci", "nec-usb-xhci", "e1000", "usb-ehci"])
def test_a_refused_rom_ends_the_parts(boards: Boards, model: str) -> None:
    """Which are told before the answer is."""
    request = {"driver": model, "id": "r", "romfile": "nosuch"}
    said = [
        [normal(each) for each in program.execute({"execute": "device_add", "arguments": request})]
        for program in boards.programs
    ]
    assert said[1] == said[0]


def test_subsystems_of_nvme(boards: Boards) -> None:
    """Each controller brings one, which stays when the controller goes or is not made."""
    controllers: dict[str, dict[str, Any]] = {
        "a": {},
        "b": {"serial": "s"},
        "c": {"serial": "s", "romfile": "nosuch"},
        "d": {"serial": "s"},
        "e": {"serial": "s", "msix_qsize": 0},
    }
    for name, more in controllers.items():
        boards.device("nvme", id=name, **more)
        boards.get(f"/machine/peripheral/{name}", "subsys")
    boards.execute("device_del", id="b")
    boards.reset()
    boards.device("nvme", id="f", serial="s")
    boards.get("/machine/peripheral/f", "subsys")
    boards.execute("human-monitor-command", **{"command-line": "info qtree"})


def test_memory_of_nvme(boards: Boards) -> None:
    for size in (0, 2):
        boards.device("nvme", id=f"n{size}", serial="s", cmb_size_mb=size)
    boards.execute("query-pci")
    boards.execute("human-monitor-command", **{"command-line": "info qtree"})


def test_disks_of_usb_storage(boards: Boards) -> None:
    boards.device("qemu-xhci", id="x")
    boards.add("null-co", "n", size=1 << 20)
    sizes = {"min_io_size": 4096, "opt_io_size": 8192, "physical_block_size": 2048}
    more = {"logical_block_size": 1024, "write-cache": "off", "share-rw": True, "serial": "s"}
    boards.device("usb-storage", drive="n", id="u", **sizes, **more)
    boards.execute("human-monitor-command", **{"command-line": "info qtree"})


def test_streams_of_xhci(boards: Boards) -> None:
    for number, (model, more) in enumerate(
        [("nec-usb-xhci", {}), ("nec-usb-xhci", {"streams": True}), ("qemu-xhci", {})]
    ):
        boards.device(model, id=f"x{number}", **more)
        boards.get(f"/machine/peripheral/x{number}", "streams")

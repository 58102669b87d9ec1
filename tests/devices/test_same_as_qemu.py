"""Devices on qmpd and on the real QEMU side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd import profile
from qmpd.machine.devices.kinds import KINDS
from tests.devices.boards import Boards
from tests.support.versions import MEASURED


@pytest.fixture(params=MEASURED)
def boards(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boards]:
    drives = [f"if=none,id=d{number},driver=null-co,size=1M" for number in range(4)]
    options = [word for drive in drives for word in ("-drive", drive)]
    pair = Boards(tmp_path_factory.mktemp("boards"), "pc", *options, version=request.param)
    for number in range(4):
        pair.add("null-co", f"n{number}", size=1 << 20)
    yield pair
    pair.close()


VALUES: list[dict[str, Any]] = [
    {"scsi-id": "3"},
    {"scsi-id": 1.5},
    {"scsi-id": -1},
    {"scsi-id": None},
    {"scsi-id": []},
    {"scsi-id": 1 << 33},
    {"scsi-id": 256},
    {"channel": 1},
    {"lun": 16384},
    {"share-rw": "foo"},
    {"share-rw": 1},
    {"rotation_rate": 70000},
    {"rotation_rate": "x"},
    {"wwn": "x"},
    {"wwn": -1, "lun": 99999},
    {"scsi_version": "x"},
    {"bootindex": 3 << 30},
    {"bootindex": True},
    {"drive": ""},
    {"drive": "nope"},
    {"drive": 5},
    {"logical_block_size": 1000},
    {"logical_block_size": "4k"},
    {"logical_block_size": 4096},
    {"logical_block_size": 4 << 20},
    {"min_io_size": 100},
    {"min_io_size": 1 << 31},
    {"opt_io_size": 100},
    {"opt_io_size": 5 << 30},
    {"discard_granularity": 5 << 30},
    {"discard_granularity": 100},
    {"cyls": 5},
    {"cyls": 70000, "heads": 1, "secs": 1},
    {"werror": "nope"},
    {"werror": 1},
    {"write-cache": "x"},
    {"nope": 1},
    {"hotplugged": True},
    {"type": "x"},
    {"zz": 1, "aa": 2, "scsi-id": "x", "share-rw": 5},
    {"id": 5, "lun": 99999},
    {"bus": "ide.0"},
    {"bus": "isa.0"},
    {"bus": "main-system-bus"},
    {"bus": "virtio-bus"},
    {"bus": "/x"},
    {"bus": "nope/s0"},
    {"bus": "pci.0/s0"},
    {"bus": "pci.0/nope"},
    {"bus": "pci.0/piix3-ide"},
    {"bus": "s0.0/taken"},
    {"bus": "pci.0/virtio-scsi-pci/virtio-bus"},
    {"scsi-id": 9, "lun": 1},
]
"""Properties of a scsi-hd that is refused."""

PCI_VALUES: list[dict[str, Any]] = [
    {"addr": "2"},
    {"addr": "0x2.1"},
    {"addr": "1.5"},
    {"addr": "zz"},
    {"addr": "20"},
    {"addr": 300},
    {"addr": True},
    {"addr": 1.5},
    {"addr": 8},
    {"iothread": "io"},
    {"iothread": "s0"},
    {"iothread": 7},
    {"num-queues": 0},
    {"queue-size": 2},
    {"queue-size": 100},
    {"queue-size": 2048},
    {"drive": "nope"},
    {"opt_io_size": 5 << 30},
    {"nope": 1},
    {"virtio-backend": "x"},
    {"busnr": 1},
    {"legacy-addr": "x"},
    {"max-discard-sectors": 0},
    {"vectors": "x"},
]
"""Properties of a virtio-blk-pci that is refused."""


def test_refused_properties(boards: Boards) -> None:
    boards.device("virtio-scsi-pci", id="s0")
    boards.device("scsi-cd", **{"id": "taken", "scsi-id": 9, "lun": 1})
    for values in VALUES:
        answer = boards.device("scsi-hd", **{"drive": "n0"} | values)
        # until 7.2 numbers and booleans are texts that may say something
        assert "error" in answer or boards.version in ("5.2", "7.2"), values
    for values in PCI_VALUES:
        answer = boards.device("virtio-blk-pci", **{"drive": "n0"} | values)
        assert "error" in answer or boards.version in ("5.2", "7.2"), values
    for driver in ("nope", 7, "ide-cd", "floppy", "usb-storage", "isa-fdc", "virtio-blk-device"):
        assert "error" in boards.device(driver)  # type: ignore[arg-type]
    assert "error" in boards.device("nvme", drive="n0")
    # the numbers of those without an id count the ones that were refused
    boards.device("scsi-cd")
    boards.look()


def test_addresses_and_shared_nodes(boards: Boards) -> None:
    boards.device("virtio-scsi-pci", id="s0")
    boards.device("virtio-scsi-pci", addr="7")
    places: list[dict[str, Any]] = [{}, {"scsi-id": 3}, {"scsi-id": 3}, {"lun": 5}, {"lun": 5}]
    for number, values in enumerate([*places, {"bus": "s0.0", "lun": 2}]):
        boards.device("scsi-cd", id=f"c{number}", **values)
        for name in ("scsi-id", "lun", "channel", "parent_bus"):
            boards.get(f"c{number}", name)
    for bus in ("s0.0", "scsi.0"):
        boards.device("scsi-hd", id=f"on-{bus}", bus=bus, drive="n0", **{"share-rw": True})
    boards.device("scsi-hd", drive="n0")
    boards.device("virtio-blk-pci", id="v", drive="n1", bootindex=1)
    boards.device("virtio-blk-pci", drive="n2", bootindex=1)
    boards.device("virtio-blk-pci", drive="n1")
    boards.device("nvme", id="nv", serial="x", drive="n2", werror="stop")
    boards.device("nvme", id="nv", serial="x", drive="n2")
    boards.device("nvme", serial="x")
    boards.device("qemu-xhci", id="x")
    boards.device("usb-storage", id="u", drive="n3", removable=True)
    boards.look()
    for name in ("v", "nv", "x"):
        boards.get(name if name == "v" else f"/machine/peripheral/{name}", "addr")
        boards.get(f"/machine/peripheral/{name}", "legacy-addr")


def test_error_policies_show(boards: Boards) -> None:
    boards.device("virtio-scsi-pci")
    boards.device("scsi-hd", id="a", drive="n0", werror="report")
    boards.device("scsi-hd", id="b", drive="n1", werror="report", rerror="stop")
    boards.device("scsi-cd", id="c", werror="ignore")
    boards.device("virtio-blk-pci", id="d", drive="n2", **{"write-cache": "off"})
    boards.look()


def test_property_tables(boards: Boards) -> None:
    devices = profile.load(boards.version).devices
    for model in KINDS:
        ours = boards.execute("device-list-properties", typename=model)["return"]
        told = boards.execute("qom-list-properties", typename=model)["return"]
        known = devices.properties(model)
        assert [(name, p.type) for name, p in known.items()] == [
            (info["name"], info["type"]) for info in told
        ]
        assert all(known[each["name"]].default == each.get("default-value") for each in ours)


def test_what_properties_say(boards: Boards) -> None:
    made: dict[str, dict[str, Any]] = {
        "virtio-scsi-pci": {},
        "virtio-blk-pci": {"drive": "n0"},
        "scsi-hd": {"drive": "n1"},
        "scsi-cd": {},
        "qemu-xhci": {},
        "usb-storage": {"drive": "n2"},
        "nvme": {"drive": "n3", "serial": "x"},
    }
    paths = {model: f"/machine/peripheral/d-{model}" for model in made}
    for model, values in made.items():
        boards.device(model, id=f"d-{model}", **values)
    paths["virtio-blk-device"] = paths["virtio-blk-pci"] + "/virtio-backend"
    for model, path in paths.items():
        for name in profile.load(boards.version).devices.properties(model):
            if name != "subsys":
                boards.get(path, name)
    for model in ("scsi-hd", "scsi-cd", "usb-storage", "virtio-blk-device"):
        boards.execute("qom-list", path=paths[model])
    boards.get(paths["usb-storage"] + "/d-usb-storage.0/legacy[0]", "drive")
    for path in ("/", "/machine/peripheral", "/machine/peripheral-anon", "d-scsi-hd"):
        boards.execute("qom-list", path=path)
    for path in ("d-scsi-hd", "peripheral/d-scsi-hd", "d-nvme", "nope", "/nope", "virtio-backend"):
        boards.get(path, "type")


def test_setting_properties_of_devices_that_are_there(boards: Boards) -> None:
    boards.device("virtio-scsi-pci")
    boards.device("scsi-hd", id="h", drive="n0")
    boards.device("scsi-cd")
    boards.device("virtio-blk-pci", id="v", drive="n1")
    anonymous = "/machine/peripheral-anon/device[1]"
    for path in ("h", "/machine/peripheral/v", anonymous):
        for name, value in (
            ("drive", "nope"),
            ("drive", 7),
            ("drive", "n1" if path == "h" else "n0"),
            ("share-rw", True),
            ("share-rw", "x"),
            ("nope", 1),
            ("type", "x"),
            ("hotplugged", True),
            ("bootindex", 3),
            ("bootindex", 4),
        ):
            if (path, name) != (anonymous, "drive"):
                boards.execute("qom-set", path=path, property=name, value=value)
    boards.execute("qom-set", path="v", property="addr", value="9")
    boards.execute("qom-set", path="h", property="drive", value="n2")
    boards.get("h", "drive")
    boards.look()


def test_unplugging(boards: Boards) -> None:
    boards.device("virtio-scsi-pci", id="s0")
    boards.device("qemu-xhci", id="x")
    boards.device("scsi-hd", id="h", drive="n0")
    boards.device("scsi-hd", id="hd", drive="d0")
    boards.device("scsi-cd")
    boards.device("usb-storage", id="u", drive="d1")
    boards.device("nvme", id="nv", serial="x", drive="d2")
    boards.device("virtio-blk-pci", id="v", drive="d3")
    boards.device("scsi-cd", drive="d0")
    boards.unplug("h")
    boards.unplug("h", 0)
    boards.unplug("hd")
    boards.unplug("u", 2)
    boards.look()
    for name in ("v", "v", "s0", "nv", "x", "/machine", "/machine/peripheral/v/virtio-backend"):
        boards.execute("device_del", id=name)
    boards.look()
    assert len(boards.reset()) == (9 if boards.version == "11.1" else 7)
    boards.execute("qom-list", path="/machine/peripheral")
    boards.look()
    boards.device("virtio-scsi-pci", id="s0")
    boards.get("s0", "addr")


def test_models_that_stay(boards: Boards) -> None:
    """Not every model may be plugged in, and what may not be cannot be taken out."""
    for driver in ("VGA", "cirrus-vga", "ich9-usb-ehci1", "ich9-usb-uhci3", "isa-serial"):
        for more in ({}, {"bus": "nosuch"}, {"id": "9"}, {"nosuch": 1}):
            boards.device(driver, **more)
    boards.execute("human-monitor-command", **{"command-line": "device_add VGA"})


@pytest.mark.parametrize("version", MEASURED)
def test_a_device_that_stays(tmp_path: Path, version: str) -> None:
    boards = Boards(tmp_path, "pc", "-device", "ich9-usb-uhci1,id=u", version=version)
    boards.execute("device_del", id="u")
    boards.get("u", "hotpluggable")
    boards.look()
    boards.close()


@pytest.mark.parametrize("version", MEASURED)
def test_ports_of_q35(tmp_path: Path, version: str) -> None:
    ports = [f"pcie-root-port,id=rp{number},chassis={number}" for number in (1, 2)]
    devices = [*ports, "ide-cd,id=on", "virtio-scsi-pci,id=vs"]
    words = [word for name in devices for word in ("-device", name)]
    boards = Boards(tmp_path, "q35", *words, version=version)
    boards.add("null-co", "n")
    for bus in (None, "rp1", "rp1", "pcie.0", "rp1/nope", "rp2"):
        boards.device("virtio-blk-pci", drive="n", **({} if bus is None else {"bus": bus}))
    boards.device("virtio-scsi-pci", id="s", bus="rp2")
    boards.device("virtio-scsi-pci", id="t", bus="rp2", addr="0.1")
    for driver in ("ide-cd", "floppy", "scsi-cd"):
        boards.device(driver)
    for name in ("on", "vs", "s"):
        for prop in ("parent_bus", "hotpluggable", "hotplugged"):
            boards.get(f"/machine/peripheral/{name}", prop)
        boards.execute("device_del", id=name)
    boards.execute("device_del", id="/machine/peripheral-anon/device[1]")
    boards.look()
    boards.reset()
    boards.look()
    boards.close()

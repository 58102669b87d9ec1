"""PCI bridges and a SCSI controller without iothreads (AB: tests 200 and 051)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

COLD = [
    "pci-bridge,id=c,chassis_nr=9",
    "pci-bridge,chassis_nr=10",
    "pci-bridge,chassis_nr=11,shpc=off,id=plain",
    "lsi",
    "virtio-scsi-pci,bus=c",
    "lsi,bus=c,id=z",
    "lsi,bus=c,addr=5,id=y",
]
HOT: list[dict[str, Any]] = [
    {"driver": "pci-bridge", "id": "b", "chassis_nr": 1},
    {"driver": "pci-bridge", "id": "b2"},
    {"driver": "pci-bridge", "id": "b3", "chassis_nr": 1},
    {"driver": "lsi", "id": "l"},
    {"driver": "lsi", "id": "first", "bus": "b"},
    *({"driver": "lsi", "id": f"b{a}", "bus": "b", "addr": a} for a in ("1f", "0", "1", "1.1")),
    {"driver": "lsi", "id": "p", "bus": "plain"},
    {"driver": "lsi", "id": "q", "bus": "pci.1", "addr": "3"},
    *({"driver": "scsi-hd", "id": f"d{i}", "bus": "l.0", "scsi-id": i} for i in (0, 7, 8)),
    {"driver": "scsi-hd", "id": "d9", "bus": "l.0", "lun": 1},
    {"driver": "scsi-hd", "id": "d10", "bus": "l.0", "channel": 1},
    {"driver": "scsi-cd", "id": "d11", "bus": "l.0"},
    {"driver": "scsi-cd", "id": "d12", "bus": "scsi.0"},
]


def test_bridges_and_what_is_behind_them(tmp_path: Path) -> None:
    devices = (part for device in COLD for part in ("-device", device))
    both = start(tmp_path, "-machine", "pc", "-S", *devices)
    for number, device in enumerate(HOT):
        if device["driver"] == "scsi-hd":
            both.add("null-co", f"n{number}", size=1 << 20)
            device = device | {"drive": f"n{number}"}
        both.execute("device_add", **device)
        for name in ("type", "parent_bus", "addr", "scsi-id"):
            path = f"/machine/peripheral/{device['id']}"
            both.execute("qom-get", path=path, property=name)
    for name in ("l", "b", "d11"):
        both.execute("device_del", id=name)
    both.close()


def test_a_controller_that_knows_no_iothreads(tmp_path: Path) -> None:
    both = start(tmp_path, "-machine", "pc", "-S", "-device", "lsi,id=l")
    both.execute("object-add", **{"qom-type": "iothread", "id": "i"})
    both.execute("device_add", driver="virtio-scsi", id="v", iothread="i")
    both.add("null-co", "n", size=1 << 20)
    both.execute("device_add", driver="scsi-hd", bus="v.0", drive="n", **{"share-rw": True})
    both.execute("device_add", driver="scsi-hd", bus="l.0", drive="n", **{"share-rw": True})
    both.execute("device_add", driver="ide-hd", drive="n", **{"share-rw": True})
    both.close()

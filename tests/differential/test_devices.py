"""Devices of all models that qmpd has, with properties right and wrong, on both programs.

Answers, and what the devices are afterwards, are compared.  Whether DEVICE_DELETED comes before an
answer or after it is left to chance in some versions: it is compared by itself.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from qmpd import profile
from qmpd.profile.recorded.coding import as_inserted
from tests.devices.boards import QUIET, Boards
from tests.support.normal import normal
from tests.support.stdio import Gone
from tests.support.versions import MEASURED, examples

EXAMPLES: Final = int(os.environ.get("QMPD_DEVICES_EXAMPLES", "12"))

Step = tuple[str, dict[str, Any]]

MODELS: Final = (
    *("virtio-blk-pci", "virtio-blk-pci", "virtio-scsi-pci", "scsi-hd", "scsi-hd", "scsi-cd"),
    *("usb-storage", "usb-storage", "nvme", "ide-hd", "ide-cd", "floppy", "virtio-blk-device"),
    *("qemu-xhci", "nec-usb-xhci", "piix3-usb-uhci", "usb-ehci", "pci-bridge", "lsi53c895a"),
    *("virtio-blk", "virtio-scsi", "lsi", "virtio-balloon-pci", "virtio-serial-pci", "isa-fdc"),
    *("pci-device", "device", "nosuch", ""),
)
STAYS: Final = {"5.2": ("lsi53c895a", "lsi")}
"""Models that a version of QEMU never lets go of: their places and ids stay taken."""

REQUIRED: Final[dict[str, dict[str, Any]]] = {
    "nvme": {"serial": "s"},
    "pci-bridge": {"chassis_nr": 1},
    "usb-storage": {"drive": "n0"},
    "virtio-blk-pci": {"drive": "n1"},
    "scsi-hd": {"drive": "n2"},
}

LEFT: Final = frozenset(
    {
        *("romfile", "romsize", "rombar", "failover_pair_id", "acpi-index", "vectors"),
        *("virtio-backend", "scsi", "iothread", "iothread-vq-mapping", "pmrdev", "subsys"),
        *("virtqueue_size", "queue-size", "pcap", "rng", "host_mtu", "stats-intervals"),
        *("realized", "sriov-pf", "guest-stats-polling-interval"),
    }
)
"""Properties that lead to what a machine without a guest does not have, or end the real program."""

BUSES: Final = (
    *("s.0", "x.0", "pci.0", "b", "ide.0", "isa.0", "main-system-bus", "floppy-bus.0", "nosuch"),
    *("/", "pci.0/s", "s/s.0", "pci.0/piix3-ide", "virtio-bus", ""),
)
VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "bool": (True, False, "on", "off", "yes", "maybe", 1, None, 1.5),
    "size": (0, 512, 4096, 1000, "4k", "x", "-1", -1, 5 << 30, 1 << 64, True, "1.5k", 0.1),
    "OnOffAuto": ("on", "off", "auto", "x", True, 1, []),
    "str": ("abc", "", 5, True, 0.1, "x" * 40, None, {}),
    "int32": (-1, 0, 3, 70000, 3 << 30, "0x10", "x", 1.5, False),
}
NUMBERS: Final = (0, 1, 2, 3, 300, 70000, 1 << 33, -1, "0x10", "08", "x", " 5", 1.5, True, "")
ADDRESSES: Final = ("4", "4.1", "0x5.0", 48, "1.3", "20", "zz", 300, -1, True, 0.1)
PERMILLE: Final = st.integers(0, 999)


def _value(name: str, kind: str) -> st.SearchStrategy[Any]:
    if name == "addr":
        return st.sampled_from(ADDRESSES)
    if name == "drive":
        return st.sampled_from(["n0", "n1", "n2", "d0", "d1", "nosuch", "", 5])
    if kind in VALUES:
        return st.sampled_from(VALUES[kind])
    if kind.startswith("uint"):
        return st.sampled_from(NUMBERS)
    enums = ("report", "ignore", "enospc", "stop", "auto", "none", "144", "nosuch", 1, False)
    return st.sampled_from(enums)


@st.composite
def added(draw: st.DrawFn, version: str) -> Step:
    """device_add, with one or two properties of its own besides those that it needs."""
    devices = profile.load(version).devices
    model = draw(st.sampled_from([each for each in MODELS if each not in STAYS.get(version, ())]))
    arguments = {"driver": model, **REQUIRED.get(model, {})}
    name = draw(
        st.sampled_from(["a", "b", "c", "d", None, "9x", *([] if model == "nvme" else [5])])
    )
    if name is not None:
        arguments["id"] = name
    elif model == "nvme":
        arguments["id"] = "d"  # without one, the number of its bus counts some that were refused
    if draw(PERMILLE) < 200:
        arguments["bus"] = draw(st.sampled_from(BUSES))
    known = devices.model(model)
    if known is not None and draw(PERMILLE) < 800:
        listed = devices.properties(known.name)
        names = sorted(each for each in listed if each not in LEFT and not each.startswith("x-"))
        for _ in range(draw(st.integers(1, 2))):
            chosen = draw(st.sampled_from(names))
            arguments[chosen] = draw(_value(chosen, listed[chosen].type))
    if draw(PERMILLE) < 30:
        arguments["nosuch"] = draw(st.sampled_from([1, "x", True, None]))
    return "device_add", arguments


@st.composite
def others(draw: st.DrawFn) -> Step:
    """Something else with the devices that may be there."""
    name = draw(st.sampled_from(["a", "b", "c", "d", "s", "x", "nosuch", "/machine", ""]))
    path = draw(st.sampled_from([name, f"/machine/peripheral/{name}"]))
    kind = draw(st.integers(0, 5))
    if kind < 3:
        return "device_del", {"id": path}
    if kind == 3:
        return "qom-list", {"path": draw(st.sampled_from(["/", "/machine/peripheral"]))}
    prop = draw(
        st.sampled_from(["addr", "drive", "serial", "realized", "hotplugged", "parent_bus"])
    )
    if kind == 4:
        return "qom-get", {"path": path, "property": prop}
    value = draw(st.sampled_from(["n0", 3, True, ""]))
    # the end of the real program, where there is no drive to replace
    prop = "bootindex" if prop in ("drive", "realized") else prop
    return "qom-set", {"path": path, "property": prop, "value": value}


class Plugged(Boards):
    """Both programs, with a bus of each kind."""

    def __init__(self, scratch: Path, version: str) -> None:
        words = ["-device", "virtio-scsi-pci,id=s", "-device", "qemu-xhci,id=x"]
        words += ["-device", "pci-bridge,id=b,chassis_nr=9"]
        for number in range(2):
            words += ["-drive", f"if=none,id=d{number},driver=null-co,size=1M"]
        super().__init__(scratch, "pc", *words, version=version)
        for number in range(3):
            self.add("null-co", f"n{number}", size=1 << 20)

    def play(self, steps: list[Step]) -> None:
        """Take the steps, look at the devices, and take them out again."""
        for command, arguments in steps:
            self.execute(command, **arguments)
        self.look()
        self.execute("query-pci")
        self.execute("human-monitor-command", **{"command-line": "info qtree"})
        self._values()
        for path in ("/machine/peripheral", "/machine/peripheral-anon"):
            for entry in self.execute("qom-list", path=path)["return"]:
                if entry["type"].startswith("child<") and entry["name"] not in ("s", "x", "b"):
                    self.execute("device_del", id=f"{path}/{entry['name']}")
        self.settle()
        self.reset()

    def _values(self) -> None:
        devices = profile.load(self.version).devices
        for entry in self.execute("qom-list", path="/machine/peripheral")["return"]:
            if not entry["type"].startswith("child<"):
                continue
            for name in devices.properties(entry["type"][6:-1]):
                if name not in LEFT and not name.startswith("legacy-"):
                    path = f"/machine/peripheral/{entry['name']}"
                    self.execute("qom-get", path=path, property=name)

    def settle(self) -> None:
        """Compare the ends of devices that have been told."""
        both = []
        for program in self.programs:
            told = self._ends.pop(id(program), [])
            with suppress(TimeoutError):
                while True:
                    told.append(normal(json.loads(program.line(QUIET))))
            both.append(told)
        assert as_inserted(both[1]) == as_inserted(both[0])


@pytest.mark.parametrize("version", MEASURED)
def test_any_devices(version: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    running: list[Plugged] = []

    @settings(
        max_examples=examples(version, EXAMPLES),
        deadline=None,
        database=None,
        # the same ones each time, but for campaigns, which say how many
        derandomize="QMPD_VERSION_EXAMPLES" not in os.environ,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.one_of(added(version), added(version), others()), min_size=3, max_size=8))
    def compare(program: list[Step]) -> None:
        if not running:
            running.append(Plugged(tmp_path_factory.mktemp("plugged"), version))
        try:
            running[0].play(program)
        except Gone:
            running.pop().close()  # so did the real one, of what a client must not do to it
        except BaseException:
            running.pop().close()
            print("\n".join(f"{command} {arguments}" for command, arguments in program))
            raise

    compare()
    for each in running:
        each.close()

"""The boards: what a machine has from the start, and how its devices are numbered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qmpd.machine.devices.topology import CpuKind, Topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmpd.profile.rules import Rules

PERIPHERAL: Final = "/machine/peripheral"
"""Where the QOM tree has the devices with an id."""

PERIPHERAL_ANON: Final = "/machine/peripheral-anon"
"""Where it has those that were asked for without an id."""

UNATTACHED: Final = "/machine/unattached"
"""Where it has the devices of the board."""

CONTAINERS: Final = ("/", "/objects", "/machine", PERIPHERAL, PERIPHERAL_ANON, UNATTACHED)
"""The objects of the QOM tree that only hold others."""

IDE_BUSES: Final = {"pc": 2, "q35": 6}
IDE_UNITS: Final = {"pc": 2, "q35": 1}
"""How many IDE buses a board has, and drives on each."""

_PROCESSORS: Final = ("cpu", "kvmvapic", "more-cpus")
_PICS: Final = ("isa-i8259", "isa-i8259")
_DMA: Final = ("i8257", "i8257")
_SOUND: Final = ("isa-pit", "isa-pcspk")
_PORTS: Final = ("serial", "parallel", "isa-fdc", "floppy")
_EEPROMS: Final = 8
_REST: Final = ("i8042", "vmport", "vmmouse", "port92")

ORDER: Final = {
    "pc": (
        *(*_PROCESSORS, "i440FX", "PIIX3", "ide", *_PICS, "vga", "hpet", *_SOUND, *_PORTS),
        *(*_REST, "adapters", "eeproms"),
    ),
    "q35": (
        *(*_PROCESSORS, "ICH9-LPC", *_PICS, "hpet", *_SOUND, *_PORTS),
        *(*_REST, "ich9-ahci", "ide", "ICH9-SMB", "eeproms", "vga", "adapters"),
    ),
}
"""The order in which a board numbers its unattached devices."""

FLAT_ORDER: Final = {
    "pc": (
        *(*_PROCESSORS, "i440FX", "PIIX3", *_DMA, *_PICS, "vga", "hpet", "rtc", *_SOUND, *_PORTS),
        *(*_REST, "adapters", "piix3-ide", "ide"),
    ),
    "q35": (
        *(*_PROCESSORS, "ICH9-LPC", *_DMA, *_PICS, "hpet", "rtc", *_SOUND, *_PORTS),
        *(*_REST, "ich9-ahci", "ide"),
    ),
}
"""The same where rule ``boards-are-flat`` holds."""


def order_of(kind: str, rules: Rules) -> Sequence[str]:
    """The order in which a board numbers its unattached devices.

    :param kind: pc or q35
    """
    if not rules.holds("boards-are-flat"):
        return ORDER[kind]
    order = [name for name in FLAT_ORDER[kind] if name not in _DMA]
    before = "serial" if rules.holds("dma-comes-late") else "isa-i8259"
    place = order.index(before)
    return [*order[:place], *_DMA, *order[place:]]


@dataclass(frozen=True)
class Board:
    """The hardware that a machine has from the start.

    :param type: none, pc or q35
    :param model: full name of the machine type
    :param vga: model of its display adapter; None for none
    :param adapters: how many network adapters it has
    :param knows_adapters: whether these are the usual ones, as the machine has by default
    :param serials: numbers of its serial ports
    :param parallels: character devices of its parallel ports
    :param cpu: the processors that it has
    :param topology: how they sit together
    :param memory: bytes of its memory
    :param memory_slots: how many places there are for more of it
    :param has_node: whether all that is a NUMA node, as it is where there are such places
    :param backend: id of the memory backend that it makes for itself; None if it is given one
    :param acpi: whether it has ACPI, by which PCI devices of a pc are plugged in
    """

    type: str = "none"
    model: str = "none"
    cpus: int = 0
    vga: str | None = None
    adapters: int = 0
    knows_adapters: bool = True
    serials: tuple[int, ...] = ()
    parallels: tuple[str, ...] = ()
    hpet: bool = True
    cpu: CpuKind = field(default_factory=CpuKind)
    topology: Topology = field(default_factory=Topology)
    memory: int = 0
    memory_slots: int = 0
    has_node: bool = False
    backend: str | None = None
    acpi: bool = True

    @property
    def sleeps(self) -> bool:
        """Whether a sleeping guest can be woken up."""
        if self.type == "none" or self.model in ("microvm", "isapc", "x-remote"):
            return False
        return self.acpi or self.type == "q35"

    def numbers(self, ide: int, floppies: int, rules: Rules) -> dict[str, int]:
        """Numbers of devices in ``/machine/unattached``; for several devices, that of the first.

        ``next`` is the number of one that comes when the board is there.

        :param ide: how many drives there are on its IDE buses
        :param floppies: how many floppy drives
        :param rules: of the version of QEMU
        """
        counts = {
            "more-cpus": self.cpus - 1,
            "ide": ide,
            "vga": int(self.vga is not None),
            "adapters": self.adapters,
            "hpet": int(self.hpet),
            "serial": len(self.serials),
            "parallel": len(self.parallels),
            "isa-fdc": int(self.type == "pc" or floppies > 0),
            "floppy": floppies,
            # on the bus of the power management
            "eeproms": _EEPROMS if self.acpi or self.type == "q35" else 0,
        }
        numbers: dict[str, int] = {}
        total = 0
        for name in order_of(self.type, rules):
            numbers.setdefault(name, total)
            total += counts.get(name, 1)
        return {**numbers, "next": total}

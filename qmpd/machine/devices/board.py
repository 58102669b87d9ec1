"""The boards: what a machine has from the start, and how its devices are numbered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from qmpd.machine.devices.topology import CpuKind, Topology

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

ORDER: Final = {
    "pc": "cpu kvmvapic more-cpus i440FX PIIX3 ide isa-i8259 isa-i8259 vga hpet isa-pit"
    " isa-pcspk serial parallel isa-fdc floppy".split(" "),
    "q35": "cpu kvmvapic more-cpus ICH9-LPC isa-i8259 isa-i8259 hpet isa-pit isa-pcspk serial"
    " parallel isa-fdc floppy i8042 vmport vmmouse port92 ich9-ahci ide".split(" "),
}
"""The order in which a board numbers its unattached devices."""


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

    def numbers(self, ide: int, floppies: int) -> dict[str, int]:
        """Numbers of devices in ``/machine/unattached``; for several devices, that of the first.

        :param ide: how many drives there are on its IDE buses
        :param floppies: how many floppy drives
        """
        counts = {
            "more-cpus": self.cpus - 1,
            "ide": ide,
            "vga": int(self.vga is not None),
            "hpet": int(self.hpet),
            "serial": len(self.serials),
            "parallel": len(self.parallels),
            "isa-fdc": int(self.type == "pc" or floppies > 0),
            "floppy": floppies,
        }
        numbers: dict[str, int] = {}
        total = 0
        for name in ORDER[self.type]:
            numbers.setdefault(name, total)
            total += counts.get(name, 1)
        return numbers

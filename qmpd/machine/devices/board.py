"""The boards: what buses and devices a machine has from the start, and their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qmpd.machine.devices.bus import BoardDevice, Bus

UNATTACHED: Final = "/machine/unattached"
"""Where the QOM tree has the devices that nobody has named."""

PCI_HOSTS: Final = {"pc": ("pci.0", "PCI", "i440fx", True), "q35": ("pcie.0", "PCIE", "q35", False)}
"""The first PCI bus of a board: name, type, name of its host bridge, hotplug."""

FUNCTIONS: Final = {
    "pc": (
        ("i440FX", 0x00),
        ("PIIX3", 0x08),
        ("piix3-ide", 0x09),
        ("PIIX4_PM", 0x0B),
    ),
    "q35": (
        ("mch", 0x00),
        ("ICH9-LPC", 0xF8),
        ("ich9-ahci", 0xFA),
        ("ICH9-SMB", 0xFB),
    ),
}
"""The PCI functions of a board and their addresses, oldest first."""

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
    """What a machine is made of.

    :param type: none, pc or q35
    :param model: full name of the machine type
    :param vga: model of its display adapter; None for none
    :param adapters: how many network adapters it has
    """

    type: str = "none"
    model: str = "none"
    cpus: int = 0
    vga: str | None = None
    adapters: int = 0
    serials: int = 0
    parallels: int = 0
    hpet: bool = True

    def numbers(self, ide: int, floppies: int) -> dict[str, int]:
        """The numbers that devices have in ``/machine/unattached``, of several the first's.

        :param ide: how many drives there are on its IDE buses
        :param floppies: how many floppy drives
        """
        counts = {
            "more-cpus": self.cpus - 1,
            "ide": ide,
            "vga": int(self.vga is not None),
            "hpet": int(self.hpet),
            "serial": self.serials,
            "parallel": self.parallels,
            "isa-fdc": int(self.type == "pc" or floppies > 0),
            "floppy": floppies,
        }
        numbers: dict[str, int] = {}
        total = 0
        for name in ORDER[self.type]:
            numbers.setdefault(name, total)
            total += counts.get(name, 1)
        return numbers


def build(board: Board, ide: int, floppies: int) -> Bus:
    """The buses that a board has from the start: the root of them.

    :param ide: how many drives it gets on its IDE buses
    :param floppies: how many floppy drives
    """
    root = Bus("main-system-bus", "System", "/machine/unattached/sysbus")
    if board.type == "none":
        return root
    numbers = board.numbers(ide, floppies)
    name, kind, host, hotplug = PCI_HOSTS[board.type]
    pci = Bus(name, kind, f"/machine/{host}/{name}", hotplug)
    root.devices.append(BoardDevice(f"{host}-pcihost", buses=[pci]))
    for model, devfn in FUNCTIONS[board.type]:
        pci.devices.insert(0, BoardDevice(model, devfn))
    _add_ide(board, pci, numbers)
    _add_isa(board, pci, numbers, with_floppies=board.type == "pc" or floppies > 0)
    adapter = "e1000" if board.type == "pc" else "e1000e"
    slot = 2 if board.type == "pc" else 1
    for model in (*([board.vga] if board.vga else []), *[adapter] * board.adapters):
        pci.devices.insert(0, BoardDevice(model, slot * 8))
        slot += 1
    return root


def _add_ide(board: Board, pci: Bus, numbers: dict[str, int]) -> None:
    if board.type == "pc":
        path = f"{UNATTACHED}/device[{numbers['PIIX3']}]/ide"
    else:
        path = f"{UNATTACHED}/device[{numbers['ich9-ahci']}]"
    controller = next(device for device in pci.devices if device.model in _IDE_CONTROLLERS)
    for number in range(IDE_BUSES[board.type]):
        bus = Bus(f"ide.{number}", "IDE", f"{path}/ide.{number}", owner=controller)
        controller.buses.insert(0, bus)


_IDE_CONTROLLERS: Final = ("piix3-ide", "ich9-ahci")


def _add_isa(board: Board, pci: Bus, numbers: dict[str, int], *, with_floppies: bool) -> None:
    bridge = next(device for device in pci.devices if device.model in ("PIIX3", "ICH9-LPC"))
    isa = Bus("isa.0", "ISA", f"{UNATTACHED}/device[{numbers[bridge.model]}]/isa.0")
    bridge.buses.append(isa)
    if with_floppies:
        path = f"{UNATTACHED}/device[{numbers['isa-fdc']}]/floppy-bus.0"
        isa.devices.append(BoardDevice("isa-fdc", buses=[Bus("floppy-bus.0", "floppy-bus", path)]))
    i2c = next(device for device in pci.devices if device.model in ("PIIX4_PM", "ICH9-SMB"))
    i2c.buses.append(Bus("i2c", "i2c-bus", ""))

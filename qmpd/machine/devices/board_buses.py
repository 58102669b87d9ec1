"""The buses and devices that a board has from the start, and their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from qmpd.base.newest_first import NewestFirst
from qmpd.machine.devices.board import IDE_BUSES, IDE_UNITS, UNATTACHED
from qmpd.machine.devices.device import BoardDevice, Bus

if TYPE_CHECKING:
    from qmpd.machine.devices.board import Board
    from qmpd.profile.rules import Rules

PCI_HOSTS: Final = {"pc": ("pci.0", "PCI", "i440fx", True), "q35": ("pcie.0", "PCIE", "q35", False)}
"""The first PCI bus of a board: name, type, name of its host bridge, hotplug."""


class Function(NamedTuple):
    """A PCI function of a board.

    :param devfn: its address: eight functions to a slot
    :param brings: the buses that it brings: ISA, IDE or i2c
    :param is_multifunction: whether there are other functions in its slot
    """

    model: str
    devfn: int
    brings: str = ""
    is_multifunction: bool = False


FUNCTIONS: Final = {
    "pc": (
        Function("i440FX", 0x00),
        Function("PIIX3", 0x08, "ISA", is_multifunction=True),
        Function("piix3-ide", 0x09, "IDE"),
        Function("PIIX4_PM", 0x0B, "i2c"),
    ),
    "q35": (
        Function("mch", 0x00),
        Function("ICH9-LPC", 0xF8, "ISA", is_multifunction=True),
        Function("ich9-ahci", 0xFA, "IDE"),
        Function("ICH9-SMB", 0xFB, "i2c"),
    ),
}
"""The PCI functions of a board, oldest first."""


def build(board: Board, ide: int, floppies: int, rules: Rules) -> Bus:
    """Build the buses of a board; returns the main system bus, the root of all.

    :param ide: how many drives it gets on its IDE buses
    :param floppies: how many floppy drives
    :param rules: of the version of QEMU
    """
    root = Bus("main-system-bus", "System", "/machine/unattached/sysbus")
    if board.type == "none":
        return root
    numbers = board.numbers(ide, floppies, rules)
    name, kind, host, hotplug = PCI_HOSTS[board.type]
    pci = Bus(name, kind, f"/machine/{host}/{name}", hotplug and board.acpi)
    root.devices.add(BoardDevice(f"{host}-pcihost", buses=NewestFirst([pci])))
    functions = FUNCTIONS[board.type]
    made = [BoardDevice(each.model, each.devfn, each.is_multifunction) for each in functions]
    brings = {each.brings: device for each, device in zip(functions, made, strict=True)}
    _add_ide(board, brings["IDE"], numbers)
    _add_isa(brings["ISA"], numbers, with_floppies=board.type == "pc" or floppies > 0)
    brings["i2c"].buses.add(Bus("i2c", "i2c-bus", ""))
    later = made[2:] if board.type == "pc" and rules.holds("boards-are-flat") else []
    for device in (*made[: len(made) - len(later)], *_adapters(board), *later):
        pci.devices.add(device)
    return root


def _adapters(board: Board) -> list[BoardDevice]:
    """Its display and network adapters, slot by slot."""
    adapter = "e1000" if board.type == "pc" else "e1000e"
    slot = 2 if board.type == "pc" else 1
    models = (*([board.vga] if board.vga else []), *[adapter] * board.adapters)
    return [BoardDevice(model, number * 8) for number, model in enumerate(models, slot)]


def _add_ide(board: Board, controller: BoardDevice, numbers: dict[str, int]) -> None:
    own = numbers.get("ich9-ahci", numbers.get("piix3-ide"))
    path = f"{UNATTACHED}/device[{own}]"
    if own is None:
        path = f"{UNATTACHED}/device[{numbers['PIIX3']}]/ide"
    for number in range(IDE_BUSES[board.type]):
        bus = Bus(f"ide.{number}", "IDE", f"{path}/ide.{number}", units=IDE_UNITS[board.type])
        controller.buses.add(bus)


def _add_isa(bridge: BoardDevice, numbers: dict[str, int], *, with_floppies: bool) -> None:
    isa = Bus("isa.0", "ISA", f"{UNATTACHED}/device[{numbers[bridge.model]}]/isa.0")
    bridge.buses.add(isa)
    if with_floppies:
        path = f"{UNATTACHED}/device[{numbers['isa-fdc']}]/floppy-bus.0"
        floppies = Bus("floppy-bus.0", "floppy-bus", path)
        isa.devices.add(BoardDevice("isa-fdc", buses=NewestFirst([floppies])))

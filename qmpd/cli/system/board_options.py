"""The board that a command line asks for, and the default drives of QEMU's machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.cli.options.chardev import chardev_of

if TYPE_CHECKING:
    from qmpd.cli.system.config import SystemConfig
    from qmpd.machine.devices.board import Board
    from qmpd.profile.rules import Rules

VGA_MODELS: Final = {
    "std": "VGA",
    "cirrus": "cirrus-vga",
    "vmware": "vmware-svga",
    "qxl": "qxl-vga",
    "virtio": "virtio-vga",
}
"""Display adapters by the values of ``-vga``."""

REPLACED_DEFAULTS: Final = {
    "isa-serial": "serial",
    "isa-parallel": "parallel",
    "isa-fdc": "floppy",
    "floppy": "floppy",
    **dict.fromkeys(("ide-cd", "ide-hd", "scsi-cd", "scsi-hd"), "cdrom"),
    **dict.fromkeys(
        (
            "VGA",
            "isa-vga",
            "cirrus-vga",
            "isa-cirrus-vga",
            "vmware-svga",
            "qxl-vga",
            "virtio-vga",
            "ati-vga",
            "vhost-user-vga",
            "virtio-vga-gl",
            "virtio-vga-rutabaga",
        ),
        "vga",
    ),
}
"""The default device that a ``-device`` of this model replaces (``default_list``)."""

MAX_SERIALS: Final = 4
MAX_PARALLELS: Final = 3


def wanted_defaults(config: SystemConfig) -> frozenset[str]:
    """The kinds of default devices that the machine gets."""
    if not config.defaults:
        return frozenset()
    models = {str(thing.what.get("driver")) for thing in config.devices + config.json_devices}
    replaced = {REPLACED_DEFAULTS.get(model) for model in models}
    return frozenset(REPLACED_DEFAULTS.values()) - replaced


def board_of(config: SystemConfig) -> Board | None:
    """The board of the machine; None for machine type none, unless it is given memory."""
    machine, given = config.machine, config.hardware
    if machine.name == "none" and "m" not in given:
        return None
    from qmpd.cli.system.processor_options import (
        cpu_of,
        makes_node,
        memory_of,
        memory_slots_of,
        own_backend,
    )
    from qmpd.machine.devices.board import Board

    if machine.name == "none":
        memory = memory_of(given["m"], default=0)
        backend = own_backend(machine.name, machine.properties) if memory else None
        return Board(memory=memory, backend=backend)
    defaults = wanted_defaults(config)
    vga = "std" if "vga" in defaults else "none"
    for value in given.get("vga", ()):
        vga = value.split(",")[0]
    network = [value for name in ("nic", "net") for value in given.get(name, ())]
    adapters = sum(not value.startswith(("none", "user", "tap")) for value in given.get("net", ()))
    adapters += sum(not value.startswith("none") for value in given.get("nic", ()))
    if config.defaults and not network and "netdev" not in given:
        adapters = 1
    parallels = [value for value in given.get("parallel", ()) if value != "none"]
    if "parallel" in defaults and "parallel" not in given:
        parallels.append("null")
    serials = [port.what for port in config.serials]
    if config.default_serial and "serial" in defaults:
        serials.append("null")
    slots = memory_slots_of(given.get("m", ()))
    return Board(
        machine.buses,
        machine.name,
        cpus=machine.cpus,
        vga=VGA_MODELS.get(vga),
        adapters=adapters,
        knows_adapters=all(value in ("none", "nic", "user") for value in given.get("net", ()))
        and all(value == "none" for value in given.get("nic", ())),
        serials=tuple(
            number for number, value in enumerate(serials[:MAX_SERIALS]) if value != "none"
        ),
        parallels=tuple(
            chardev_of(value) or f"parallel{number}"
            for number, value in enumerate(parallels[:MAX_PARALLELS])
        ),
        hpet=machine.properties.get("hpet", "on") == "on",
        cpu=cpu_of(machine.cpu, machine.name),
        topology=machine.topology,
        memory=memory_of(given.get("m", ())),
        memory_slots=slots,
        has_node=slots > 0 and makes_node(machine.name),
        backend=own_backend(machine.name, machine.properties),
        acpi=machine.properties.get("acpi", "on") not in ("off", "no"),
    )


def default_drives(config: SystemConfig, rules: Rules) -> list[dict[str, str]]:
    """Options of the drives that the machine gets unless their places are taken.

    :param rules: of the version of QEMU
    """
    defaults = wanted_defaults(config)
    drives: list[dict[str, str]] = []
    if config.machine.has_hardware and "cdrom" in defaults:
        drives.append({"if": "ide", "index": "2", "media": "cdrom"})
    if config.machine.buses == "pc" and "floppy" in defaults:
        drives.append({"if": "floppy", "index": "0"})
    if config.machine.has_hardware and config.defaults and rules.holds("cards-by-default"):
        drives.append({"if": "sd", "index": "0"})
    return drives

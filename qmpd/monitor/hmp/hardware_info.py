"""HMP's info about devices: ``info qtree``, ``info qdm`` and ``info pci``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.machine.devices.help import models_help
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter

if TYPE_CHECKING:
    from qmpd.machine.devices.survey import SeenBus, SeenDevice
    from qmpd.machine.machine import Machine

Info = dict[str, Any]

NOWHERE: Final = (1 << 64) - 1
"""The address of a region that is not mapped (``PCI_BAR_UNMAPPED``)."""


async def info_qtree(machine: Machine, arguments: Arguments) -> str:
    """All buses and the devices on them; with ``-b``, without their properties."""
    from qmpd.machine.devices.survey import Survey

    root = Survey(machine.devices).root()
    return "\n".join(_bus(root, "", brief="brief" in arguments)) + "\n"


async def info_qdm(machine: Machine, _: Arguments) -> str:
    """All device models, those that only boards have among them."""
    return models_help(machine.profile, also_the_boards=True)


def _bus(bus: SeenBus, indent: str, *, brief: bool) -> Iterator[str]:
    yield f"{indent}bus: {bus.name}"
    indent += "  "
    yield f"{indent}type {bus.type}"
    for device in bus.devices:
        yield f'{indent}dev: {device.model}, id "{device.id}"'
        if not brief:
            for line in _details(device):
                yield f"{indent}  {line}"
        for below in device.buses:
            yield from _bus(below, f"{indent}  ", brief=brief)


def _details(device: SeenDevice) -> Iterator[str]:
    yield from device.pins
    for name, text in device.properties:
        yield f"{name} = {text}"
    if device.function is not None:
        yield from _function(device, device.function)
    yield from device.notes


def _function(device: SeenDevice, function: Any) -> Iterator[str]:
    ids = function["id"]
    sub = function.get("sub")
    if sub is None:
        sub = f"{ids['subsystem-vendor']:04x}:{ids['subsystem']:04x}"
    slot, number = divmod(device.devfn, 8)
    yield (
        f"class {_class(function['class_info'])}, addr 00:{slot:02x}.{number:x},"
        f" pci id {ids['vendor']:04x}:{ids['device']:04x} (sub {sub})"
    )
    for region in function["regions"]:
        kind = "i/o" if region["type"] == "io" else "mem"
        # the end is counted from the address that stands for none, and wraps around
        last = region["size"] - 2
        yield f"bar {region['bar']}: {kind} at 0xffffffffffffffff [{last:#x}]"


def _class(info: Info) -> str:
    found: str = info.get("desc", f"Class {info['class']:04x}")
    return found


async def info_pci(machine: Machine, _: Arguments) -> str:
    """The PCI bus, and all that is on it (``hmp_info_pci``)."""
    from qmpd.machine.devices.pci import query_pci

    place = _no_place if machine.profile.rules.holds("regions-are-somewhere") else _not_mapped
    return "".join(
        f"{line}\n"
        for bus in query_pci(machine.devices)
        for device in bus["devices"]
        for line in _pci_device(device, place)
    )


def _not_mapped(region: Info) -> str:
    return " (not mapped)"


def _no_place(region: Info) -> str:
    digits = 4 if region["type"] == "io" else 8
    return f" at 0x{NOWHERE:x} [0x{(NOWHERE + region['size'] - 1) % (1 << 64):0{digits}x}]."


def _pci_device(device: Info, place: Callable[[Info], str]) -> Iterator[str]:
    ids, kind = device["id"], device["class_info"]
    yield f"  Bus {device['bus']:2}, device {device['slot']:3}, function {device['function']}:"
    named = kind.get("desc", f"Class {kind['class']:04}")
    yield f"    {named}: PCI device {ids['vendor']:04x}:{ids['device']:04x}"
    if "subsystem" in ids:
        yield f"      PCI subsystem {ids['subsystem-vendor']:04x}:{ids['subsystem']:04x}"
    if "irq" in device:
        yield f"      IRQ {device['irq']}, pin {' ABCD'[device['irq_pin']]}"
    if "pci_bridge" in device:
        yield from _bridge(device["pci_bridge"]["bus"])
    for region in device["regions"]:
        yield f"      BAR{region['bar']}: {_region(region)}{place(region)}"
    yield f'      id "{device["qdev_id"]}"'


def _region(region: Info) -> str:
    if region["type"] == "io":
        return "I/O"
    prefetchable = " prefetchable" if region["prefetch"] else ""
    return f"{64 if region['mem_type_64'] else 32} bit{prefetchable} memory"


def _bridge(bus: Info) -> Iterator[str]:
    yield f"      BUS {bus['number']}."
    yield f"      secondary bus {bus['secondary']}."
    yield f"      subordinate bus {bus['subordinate']}."
    for name, words, width in (
        ("io_range", "IO range", 4),
        ("memory_range", "memory range", 8),
        ("prefetchable_range", "prefetchable memory range", 8),
    ):
        base, limit = bus[name]["base"], bus[name]["limit"]
        yield f"      {words} [0x{base:0{width}x}, 0x{limit:0{width}x}]"


async def info_usb(machine: Machine, _: Arguments) -> str:
    """All USB devices."""
    from qmpd.machine.devices.survey import Survey

    lines = Survey(machine.devices).usb_devices()
    if lines is None:
        raise GenericError("USB support not enabled")
    return "".join(f"  {line}\n" for line in lines)


HARDWARE_INFO: Final = (
    HmpCommand("usb", info_usb, summary="show the USB devices"),
    HmpCommand(
        "qtree",
        info_qtree,
        (Parameter("brief", Kind.FLAG, flag="b"),),
        "[-b]",
        "show the buses, and the devices on them",
    ),
    HmpCommand("qdm", info_qdm, summary="show the device models"),
    HmpCommand("pci", info_pci, summary="show the PCI bus"),
)
"""The subcommands."""

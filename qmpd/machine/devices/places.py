"""Places on buses: PCI functions, SCSI addresses, units of IDE and floppy controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError
from qmpd.machine.devices.sizes import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.machine.devices.chassis import Devices
    from qmpd.machine.devices.device import BoardDevice, Bus, Device
    from qmpd.profile.rules import Rules

SLOTS: Final = 32
FLOPPIES: Final = 2


def take_pci_function(device: Device, bus: Bus, rules: Rules) -> None:
    """Determine slot and function of a PCI device (``do_pci_register_device``).

    :param rules: of the version of QEMU
    :raises GenericError: there is no free one, or the one asked for is taken
    """
    taken = {other.devfn: other for other in bus.devices}
    devfn = device.values.get("addr", -1)
    name = device.model
    looks = devfn != -1 or not rules.holds("function-0-where-asked-for")
    if devfn == -1:
        devfn = _free_slot(name, taken)
    slot, function = divmod(devfn, 8)
    if devfn in taken:
        other = taken[devfn]
        raise GenericError(
            f"PCI: slot {slot} function {function} not available for {name}, in use by"
            f" {other.model},id={other.id or '(null)'}"
        )
    # a port has one slot, whatever the address says
    first = taken.get(0 if bus.is_port else slot * 8)
    if first is not None and device.hotplugged and looks:
        raise GenericError(
            f"PCI: slot {first.devfn // 8} function 0 already occupied by {first.model}, new func"
            f" {name} cannot be exposed to guest."
        )
    _check_functions(device, devfn, taken)
    device.values["addr"] = devfn


def check_hotplug_slot(device: Device, bus: Bus) -> None:
    """Whether the hotplug controller of a bridge takes a device (``shpc_device_get_slot``).

    :raises GenericError: it is in slot 0
    """
    if bus.has_hotplug_controller and device.hotplugged and device.devfn // 8 == 0:
        raise GenericError(
            "Unsupported PCI slot 0 for standard hotplug controller. Valid slots are between"
            f" 1 and {SLOTS - 1}."
        )


def _free_slot(name: str, taken: dict[int, Device | BoardDevice]) -> int:
    for slot in range(SLOTS):
        if slot * 8 not in taken:
            return slot * 8
    raise GenericError(f"PCI: no slot/function available for {name}, all in use or reserved")


def _check_functions(device: Device, devfn: int, taken: dict[int, Device | BoardDevice]) -> None:
    """Check that function 0 of a slot with several functions is marked as multifunction."""
    slot, function = divmod(devfn, 8)
    if function:
        first = taken.get(slot * 8)
        if first is not None and not first.is_multifunction:
            raise GenericError(
                f"PCI: single function device can't be populated in function {slot:x}.{function:x}"
            )
    elif not device.is_multifunction:
        for other in range(1, 8):
            if slot * 8 + other in taken:
                raise GenericError(
                    f"PCI: {slot:x}.0 indicates single function, but {slot:x}.{other:x} is"
                    " already populated."
                )


def take_scsi_address(device: Device, bus: Bus) -> None:
    """Determine channel, target and unit of a SCSI device (``scsi_bus_check_address``).

    :raises GenericError: there is no such address, or it is taken
    """
    limits = bus.scsi
    assert limits is not None
    channel = device.values.get("channel", 0)
    target, lun = (_minus_one(device.values.get(name, UNSET)) for name in ("scsi-id", "lun"))
    if channel > limits.channel:
        raise GenericError(f"bad scsi channel id: {channel}")
    if target > limits.target:
        raise GenericError(f"bad scsi device id: {target}")
    if lun > limits.lun:
        raise GenericError(f"bad scsi device lun: {lun}")
    taken = {
        (other.values["channel"], other.values["scsi-id"], other.values["lun"]): other
        for other in bus.plugged
    }
    if target == -1:
        lun = max(lun, 0)
        free = (t for t in range(limits.target + 1) if (channel, t, lun) not in taken)
        target = next(free, -1)
        if target == -1:
            raise GenericError("no free target")
    elif lun == -1:
        lun = next((n for n in range(limits.lun + 1) if (channel, target, n) not in taken), -1)
        if lun == -1:
            raise GenericError("no free lun")
    elif (channel, target, lun) in taken:
        name = taken[channel, target, lun].id
        raise GenericError(f"lun already used by '{name or '(null)'}'")
    device.values |= {"channel": channel, "scsi-id": target, "lun": lun}


def _minus_one(value: int) -> int:
    return -1 if value == UNSET else value


def take_ide_unit(device: Device, bus: Bus) -> None:
    """Determine whether an IDE drive is master or slave.

    :raises GenericError: there is no such unit, or it is taken
    """
    used = {other.values["unit"] for other in bus.plugged}
    unit = device.values.get("unit", UNSET)
    if unit == UNSET:
        unit = int(0 in used)
    if unit >= bus.units:
        raise GenericError(f"Can't create IDE unit {unit}, bus supports only {bus.units} units")
    if unit in used:
        raise GenericError(f"IDE unit {unit} is in use")
    device.values["unit"] = unit


def take_floppy_unit(device: Device, bus: Bus) -> None:
    """Determine the unit of a floppy drive.

    :raises GenericError: there is no such drive, or it is taken
    """
    used = {other.values["unit"] for other in bus.plugged}
    unit = device.values.get("unit", UNSET)
    if unit == UNSET:
        unit = next((number for number in range(FLOPPIES) if number not in used), FLOPPIES)
    if unit >= FLOPPIES:
        raise GenericError(f"Can't create floppy unit {unit}, bus supports only {FLOPPIES} units")
    if unit in used:
        raise GenericError(f"Floppy unit {unit} is in use")
    device.values["unit"] = unit


_FIRST_MAC: Final = 0x56


def take_mac(device: Device, tree: Devices) -> None:
    """Give a network adapter that was told none the next free address of QEMU's own."""
    if device.values.get("mac"):
        return
    taken = {str(other.values.get("mac", "")).lower() for other in tree.parts()}
    number = _FIRST_MAC + tree.board_adapters
    while (address := f"52:54:00:12:34:{number:02x}") in taken:
        number += 1
    device.values["mac"] = address


def take_usb_port(device: Device, bus: Bus, product: Callable[[], str]) -> None:
    """Take the port that a USB device asks for, or the next free one (``usb_claim_port``).

    Where only one is left QEMU puts in a hub first: there the device has no port that is known.

    :param product: tells what QEMU calls the device
    :raises GenericError: the port is not free, or none is
    """
    wanted = device.get("port")
    if wanted:
        if wanted not in bus.ports:
            raise GenericError(f"usb port {wanted} (bus {bus.name}) not found (in use?)")
    elif bus.lacks_hub or len(bus.ports) == 1:
        bus.lacks_hub = True
        return
    elif not bus.ports:
        raise GenericError(f"tried to attach usb device {product()} to a bus with no free ports")
    device.port = wanted or bus.ports[0]
    bus.ports.remove(device.port)


def give_usb_port_back(device: Device) -> None:
    """The port of a device that goes is free again, after all others."""
    if device.port and device.bus is not None:
        device.bus.ports.append(device.port)
        device.port = ""

"""Realizing USB devices and controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.machine.devices.device import Bus, Device, ScsiLimits
from qmpd.machine.devices.drives import drive_name, give_back, require_drive, set_drive, settle
from qmpd.machine.devices.kinds import KINDS
from qmpd.machine.devices.new_bus import add_bus
from qmpd.machine.devices.scsi import scsi_disk

if TYPE_CHECKING:
    from qmpd.machine.devices.chassis import Devices


async def usb_storage(device: Device, _: Bus, tree: Devices) -> None:
    """Realize a usb-storage: its drive becomes that of a SCSI disk on a bus of its own.

    The disk looks for it by its name (``scsi_bus_legacy_add_drive``); where that is a node's, it
    gets a backend of its own, and that of the usb-storage ends.
    """
    backend, name = require_drive(device), drive_name(device)
    device.values["attached"] = True
    bus = add_bus(device, tree, "SCSI", "scsi", device.id, scsi=ScsiLimits(0, 0, 0))
    info = backend.drive_info
    kind = KINDS["scsi-cd" if info is not None and info.media == "cdrom" else "scsi-hd"]
    disk = Device(kind, None, f"{bus.path}/legacy[0]", device.tables, device.hotplugged)
    rules = tree.chassis.profile.rules
    for passed_on in _PASSED_ON_FIRST if rules.holds("usb-disks-take-little-over") else _PASSED_ON:
        if passed_on in device.values and passed_on in disk.properties:
            disk.values[passed_on] = device.values[passed_on]
    disk.bus = bus
    backend.detach_device()
    device.backend = None
    try:
        await set_drive(disk, name, tree.chassis.graph)
        await scsi_disk(disk, bus, tree)
        if disk.hotplugged:
            await settle(disk)  # it is reset by itself, and with the usb-storage again
    except BaseException:
        await give_back(disk)
        raise
    finally:
        if device.owns_backend:
            await backend.close()
    bus.devices.add(disk)
    if rules.holds("usb-disks-have-block-sizes"):
        for name in _BLOCK_SIZES:
            device.values[name] = device.get(name) or disk.values[name]


_BLOCK_SIZES: Final = ("logical_block_size", "physical_block_size")

_PASSED_ON_FIRST: Final = ("share-rw", "rerror", "werror", "removable", "serial", "bootindex")
"""Properties that the disk of a usb-storage takes over in all versions."""

_PASSED_ON: Final = (
    *_PASSED_ON_FIRST,
    *("logical_block_size", "physical_block_size", "min_io_size", "opt_io_size"),
    *("discard_granularity", "write-cache", "account-invalid", "account-failed"),
    "backend_defaults",
)
"""The same since it takes over all of the block device's."""


_MOST_PORTS: Final = 15
"""Ports of a kind that an xHCI controller has at most."""


async def usb_controller(device: Device, _: Bus, tree: Devices) -> None:
    """Realize a USB controller, which brings a bus."""
    if device.get("masterbus"):
        return  # a companion, whose ports are the other's
    rules = tree.chassis.profile.rules
    if device.model == "nec-usb-xhci" and rules.holds("no-streams-by-default"):
        device.values.setdefault("streams", False)
    bus = add_bus(device, tree, "usb-bus", "usb-bus", device.id)
    bus.number = tree.count_usb_bus()
    for name in ("p2", "p3"):
        if name in device.values:
            device.values[name] = min(device.values[name], _MOST_PORTS)
    most = max((device.values.get(name, 0) for name in ("p2", "p3")), default=0)
    bus.ports = [str(number + 1) for number in range(most or device.kind.usb_ports)]
    if device.kind.links_host:
        device.values["host"] = device.path
    for name, value in device.kind.auto.items():
        if device.get(name) == "auto":
            device.values[name] = value


async def usb_input(device: Device, _: Bus, __: Devices) -> None:
    """Realize a keyboard, mouse or tablet."""
    device.values["attached"] = True

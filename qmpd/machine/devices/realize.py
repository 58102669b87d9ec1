"""Realizing devices: the checks of each model, in the order of its ``realize`` function."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.sizes import SECTOR
from qmpd.errors import GenericError
from qmpd.machine.devices import places
from qmpd.machine.devices.device import Bus, Device, ScsiLimits
from qmpd.machine.devices.drives import (
    FloppyOps,
    is_read_only,
    put_to_use,
    require_drive,
    require_medium,
    take_empty,
)
from qmpd.machine.devices.new_bus import add_bus
from qmpd.machine.devices.option_rom import check_rom_size
from qmpd.machine.devices.queue_mapping import first_queue_context
from qmpd.machine.devices.scsi import scsi_disk
from qmpd.machine.devices.sizes import SMALL_DISK, UNSET, check_block_sizes, settle_geometry
from qmpd.machine.devices.usb import usb_controller, usb_input, usb_storage

if TYPE_CHECKING:
    from qmpd.machine.devices.chassis import Devices

AUTO_QUEUES: Final = {"num-queues": 0xFFFF, "num_queues": UNSET}
"""Values of properties that leave the number of queues to the device."""

MAX_QUEUES: Final = 1024


async def realize(device: Device, bus: Bus, tree: Devices) -> None:
    """Realize a device that is to be plugged into `bus`; the bus is not changed.

    :param tree: all devices of the machine
    :raises QmpError: QEMU's texts
    """
    if tree.chassis.only_migratable and not device.kind.migratable:
        raise GenericError(
            f"Device {device.model} is not migratable, but --only-migratable was specified"
        )
    device.bus = bus
    if "mac" in device.properties or (device.behind and "mac" in device.behind.properties):
        places.take_mac(device if device.behind is None else device.behind, tree)
    if device.kind.bus == "PCI":
        check_rom_size(device)
        places.take_pci_function(device, bus, tree.chassis.profile.rules)
    elif device.kind.bus == "usb-bus":
        places.take_usb_port(device, bus, lambda: tree.usb_product(device.model))
    builder = _BUILDERS.get(device.model)
    if builder is not None:
        await builder(device, bus, tree)
    behind = device.behind
    if behind is not None and behind.get("iommu_platform") and device.get("disable-legacy") != "on":
        raise GenericError(
            "VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device"
        )


# virtio


def put_in_front(device: Device, bus: Bus) -> Device:
    """Plug a virtio device into the bus of its PCI proxy; returns it."""
    behind = device.behind
    assert behind is not None
    if device.get("disable-modern") and device.get("disable-legacy") == "on":
        raise GenericError(
            "device cannot work as neither modern nor legacy mode is enabled",
            "Set either disable-modern or disable-legacy to off\n",
        )
    between = Bus("virtio-bus", "virtio-pci-bus", f"{device.path}/virtio-bus", capacity=1)
    device.buses.add(between)
    if device.get("disable-legacy") == "auto":
        device.values["disable-legacy"] = "on" if bus.is_port else "off"
    behind.bus = between
    between.devices.add(behind)
    return behind


def _put_in_front(device: Device, bus: Bus, cpus: int, queues: str, fixed: int) -> Device:
    """The same, with as many queues as there are CPUs."""
    behind = put_in_front(device, bus)
    if behind.get(queues) == AUTO_QUEUES[queues]:
        behind.values[queues] = max(cpus, 1)
    if device.get("vectors") == UNSET:
        device.values["vectors"] = behind.get(queues) + fixed + 1
    return behind


async def _virtio_blk(device: Device, bus: Bus, tree: Devices) -> None:
    behind = _put_in_front(device, bus, tree.chassis.cpus, "num-queues", 0)
    backend = require_drive(behind)
    require_medium(backend)
    if not behind.get("num-queues"):
        raise GenericError("num-queues property must be larger than 0")
    if device.get("disable-modern"):
        behind.values["any_layout"] = False
    size = behind.get("queue-size")
    if size <= 2:
        raise GenericError(f"invalid queue-size property ({size}), must be > 2")
    if size & (size - 1) or size > MAX_QUEUES:
        raise GenericError(
            f"invalid queue-size property ({size}), must be a power of 2 (max {MAX_QUEUES})"
        )
    put_to_use(behind, backend, read_only=is_read_only(backend), resizable=True)
    await settle_geometry(behind, backend, 65535, 255, 255)
    check_block_sizes(behind)
    for name in ("discard", "write-zeroes"):
        limit = f"max-{name}-sectors"
        if behind.get(name) and not 1 <= behind.get(limit) <= _MAX_SECTORS:
            raise GenericError(
                f"invalid {limit} property ({behind.get(limit)}), must be between 1 and"
                f" {_MAX_SECTORS}"
            )
    # Its node goes to the iothread when a guest starts the device.
    first_queue_context(device, behind, behind.get("num-queues"), tree.chassis.objects)


_MAX_SECTORS: Final = 4194303


async def _virtio_scsi(device: Device, bus: Bus, tree: Devices) -> None:
    behind = _put_in_front(device, bus, tree.chassis.cpus, "num_queues", 2)
    queues, size = behind.get("num_queues"), behind.get("virtqueue_size")
    if not 0 < queues <= MAX_QUEUES - 3:
        raise GenericError(
            f"Invalid number of queues (= {queues}), must be a positive integer less than"
            f" {MAX_QUEUES - 2}."
        )
    if size <= 2:
        raise GenericError(f"invalid virtqueue_size property (= {size}), must be > 2")
    if size > MAX_QUEUES:
        # here the real program aborts
        raise GenericError(f"invalid virtqueue_size property (= {size})")
    disks = add_bus(behind, tree, "SCSI", "scsi", device.id, scsi=ScsiLimits(0, 255, 16383))
    disks.hotplug = behind.get("hotplug")
    disks.supports_iothreads = True
    disks.aio_context = first_queue_context(device, behind, queues, tree.chassis.objects)


# IDE


async def _ide(device: Device, bus: Bus, tree: Devices) -> None:
    places.take_ide_unit(device, bus)
    if device.backend is None:
        if not device.kind.is_cd:
            raise GenericError("No drive specified")
        take_empty(device, tree.chassis.graph)
    backend = require_drive(device)
    if device.get("discard_granularity") not in (UNSET, SECTOR):
        raise GenericError("discard_granularity must be 512 for ide")
    device.values["discard_granularity"] = SECTOR
    check_block_sizes(device)
    if device.values["logical_block_size"] != SECTOR:
        raise GenericError("logical_block_size must be 512 for IDE")
    if not device.kind.is_cd:
        await settle_geometry(device, backend, 65535, 16, 255)
    is_cd = device.kind.is_cd
    put_to_use(device, backend, read_only=is_cd, resizable=not is_cd)
    if not is_cd:
        require_medium(backend)
        if is_read_only(backend):
            raise GenericError("Can't use a read-only drive")
    number = int(bus.name.removeprefix("ide.")) * 2 + device.values["unit"] + 1
    device.values.setdefault("serial", f"QM{number:05}")
    device.values.setdefault("ver", "2.5+")


# Floppies


async def _floppy(device: Device, bus: Bus, tree: Devices) -> None:
    places.take_floppy_unit(device, bus)
    backend = device.backend
    if backend is None:
        backend = take_empty(device, tree.chassis.graph)
    check_block_sizes(device)
    if {device.values["logical_block_size"], device.values["physical_block_size"]} != {SECTOR}:
        raise GenericError("Physical and logical block size must be 512 for floppy")
    read_only = backend.node is None or is_read_only(backend)
    put_to_use(device, backend, read_only=read_only, resizable=False)
    if backend.on_write_error not in ("enospc", "report"):
        raise GenericError("fdc doesn't support drive option werror")
    if backend.on_read_error != "report":
        raise GenericError("fdc doesn't support drive option rerror")
    backend.set_dev_ops(FloppyOps(device, backend))
    if device.get("drive-type") == "auto":
        device.values["drive-type"] = "288" if backend.node is None else "144"


# NVMe, PCI Express


async def _nvme(device: Device, _: Bus, tree: Devices) -> None:
    if not 1 <= device.get("max_ioqpairs") <= 65535:
        raise GenericError("max_ioqpairs must be between 1 and 65535")
    if not 1 <= device.get("msix_qsize") <= 2048:
        raise GenericError("msix_qsize must be between 1 and 2048")
    if "serial" not in device.values:
        raise GenericError("serial property not set")
    memory = device.get("cmb_size_mb")
    if memory & (memory - 1):
        # here the real program aborts
        raise GenericError(f"Invalid cmb_size_mb property ({memory}), must be a power of 2")
    rules = tree.chassis.profile.rules
    if rules.holds("nvme-controllers-bring-subsystems"):
        device.values["subsys"] = tree.new_subsystem()
    name = device.id if device.id is not None else tree.bus_name("nvme-bus")
    bus = Bus(name, "nvme-bus", f"{device.path}/{name}", hotplug=True)
    device.buses.add(bus)
    backend = device.backend
    if backend is None:
        for size in ("logical_block_size", "physical_block_size", "discard_granularity"):
            device.values.setdefault(size, device.get(size))
        return
    if backend.node is None:
        raise GenericError(f"could not get blockdev size: {os.strerror(errno.ENOMEDIUM)}")
    check_block_sizes(device)
    put_to_use(device, backend, read_only=is_read_only(backend), resizable=False)
    left = rules.holds("nvme-granularity-is-left")
    if device.get("discard_granularity") == UNSET and not left:
        device.values["discard_granularity"] = max(device.values["logical_block_size"], SMALL_DISK)


async def _root_port(device: Device, _: Bus, tree: Devices) -> None:
    place = device.get("chassis"), device.get("slot")
    for other in tree:
        if other is device or other.model != device.model:
            continue
        if (other.get("chassis"), other.get("slot")) == place:
            raise GenericError(f"Can't add chassis slot, error -{errno.EBUSY}")
    name = device.id if device.id is not None else tree.bus_name("pcie")
    bus = Bus(name, "PCIE", f"{device.path}/{name}", hotplug=True, is_port=True)
    device.buses.add(bus)


async def _pci_bridge(device: Device, _: Bus, tree: Devices) -> None:
    if not device.get("chassis_nr"):
        raise GenericError(
            "Bridge chassis not specified. Each bridge is required to be assigned a unique chassis"
            " id > 0."
        )
    name = device.id if device.id is not None else tree.bus_name("pci")
    acpi = tree.unplugs_by_acpi(device)
    bus = Bus(name, "PCI", f"{device.path}/{name}", hotplug=acpi or bool(device.get("shpc")))
    bus.has_hotplug_controller = not acpi
    device.buses.add(bus)


async def _lsi(device: Device, _: Bus, tree: Devices) -> None:
    add_bus(device, tree, "SCSI", "scsi", device.id, scsi=ScsiLimits(0, 7, 0))


# Without a guest they do nothing


def _virtio_with(vectors: int) -> Callable[[Device, Bus, Devices], Coroutine[Any, Any, None]]:
    async def build(device: Device, bus: Bus, tree: Devices) -> None:
        behind = put_in_front(device, bus)
        if device.get("vectors") == UNSET:
            device.values["vectors"] = vectors
        if behind.model == "virtio-serial-device":
            add_bus(behind, tree, "virtio-serial-bus", "virtio-serial-bus", device.id)
            if device.get("class") not in _SERIAL_CLASSES:
                device.values["class"] = _SERIAL_CLASSES[0]
        elif behind.model == "virtio-rng-device" and not behind.values.get("rng"):
            behind.values["rng"] = f"{behind.path}/default-backend"
        elif behind.model == "virtio-balloon-device":
            if any(other.realized and other.model == behind.model for other in tree.parts()):
                raise GenericError("Only one balloon device is supported")
            if "class" in device.properties and device.get("class") not in _BALLOON_CLASSES:
                device.values["class"] = _BALLOON_CLASSES[0]

    return build


_SERIAL_CLASSES: Final = (0x0780, 0x0380, 0x00FF)
_BALLOON_CLASSES: Final = (0x00FF, 0x0500)
"""Classes that a PCI device may be told to have; for any other it has the first one."""


async def _serial_port(device: Device, bus: Bus, _: Devices) -> None:
    taken = {port.values["nr"] for port in bus.plugged}
    number = device.get("nr")
    if number == UNSET:
        first = 0 if device.model == "virtconsole" else 1
        device.values["nr"] = next(free for free in count(first) if free not in taken)
    elif number in taken:
        raise GenericError(f"virtio-serial-bus: A port already exists at id {number}")


async def _isa_serial(device: Device, _: Bus, __: Devices) -> None:
    if not device.values.get("chardev"):
        raise GenericError("Can't create serial device, empty char device")


_BUILDERS: Final[dict[str, Callable[[Device, Bus, Devices], Coroutine[Any, Any, None]]]] = {
    "virtio-blk-pci": _virtio_blk,
    "virtio-scsi-pci": _virtio_scsi,
    "scsi-hd": scsi_disk,
    "scsi-cd": scsi_disk,
    "ide-hd": _ide,
    "ide-cd": _ide,
    "floppy": _floppy,
    "usb-storage": usb_storage,
    "piix3-usb-uhci": usb_controller,
    "usb-ehci": usb_controller,
    "qemu-xhci": usb_controller,
    "nec-usb-xhci": usb_controller,
    "nvme": _nvme,
    "pcie-root-port": _root_port,
    "pci-bridge": _pci_bridge,
    "lsi53c895a": _lsi,
    "virtio-balloon-pci": _virtio_with(2),
    "virtio-rng-pci": _virtio_with(2),
    "virtio-serial-pci": _virtio_with(2),
    "virtio-net-pci": _virtio_with(4),
    "virtserialport": _serial_port,
    "virtconsole": _serial_port,
    "isa-serial": _isa_serial,
    "usb-tablet": usb_input,
    "usb-mouse": usb_input,
    "usb-kbd": usb_input,
    "ich9-usb-ehci1": usb_controller,
    "ich9-usb-ehci2": usb_controller,
    **{f"ich9-usb-uhci{number}": usb_controller for number in range(1, 7)},
}

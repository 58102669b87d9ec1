"""Realizing SCSI disks, in the order of ``scsi_realize``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError
from qmpd.machine.devices import places
from qmpd.machine.devices.drives import (
    is_read_only,
    put_to_use,
    require_drive,
    require_medium,
    take_empty,
)
from qmpd.machine.devices.sizes import SMALL_DISK, UNSET, check_block_sizes, settle_geometry

if TYPE_CHECKING:
    from qmpd.machine.devices.chassis import Devices
    from qmpd.machine.devices.device import Bus, Device


async def scsi_disk(device: Device, bus: Bus, tree: Devices) -> None:
    """Realize a SCSI disk or CD-ROM drive.

    :raises QmpError: QEMU's texts
    """
    places.take_scsi_address(device, bus)
    if device.kind.is_cd and device.backend is None:
        take_empty(device, tree.chassis.graph)
    if device.backend is not None:
        check_block_sizes(device)
    backend = require_drive(device)
    if not device.is_removable:
        require_medium(backend)
    if backend.aio_context is not None and not bus.supports_iothreads:
        raise GenericError("HBA does not support iothreads")
    if not device.kind.is_cd:
        await settle_geometry(device, backend, 65535, 255, 255)
    put_to_use(
        device,
        backend,
        read_only=device.kind.is_cd or is_read_only(backend),
        resizable=not device.kind.is_cd,
    )
    if device.get("discard_granularity") == UNSET:
        device.values["discard_granularity"] = max(device.values["logical_block_size"], SMALL_DISK)
    product = "QEMU CD-ROM" if device.kind.is_cd else "QEMU HARDDISK"
    for name, value in (("product", product), ("ver", "2.5+"), ("vendor", "QEMU")):
        device.values.setdefault(name, value)
    _name(device, backend.name)


_LONGEST_SERIAL: Final = 36
_LONGEST_DEVICE_ID: Final = 20


def _name(device: Device, name: str) -> None:
    """Check the serial number of a SCSI disk, of which its `device_id` is made.

    :param name: that of its drive, which it is made of otherwise
    :raises GenericError: it is too long
    """
    serial = device.values.get("serial")
    if serial is not None and len(serial) > _LONGEST_SERIAL:
        raise GenericError(f"The serial number can't be longer than {_LONGEST_SERIAL} characters")
    if "device_id" in device.values:
        return
    if serial is not None and len(serial) > _LONGEST_DEVICE_ID:
        raise GenericError(
            f"The serial number can't be longer than {_LONGEST_DEVICE_ID} characters when it is"
            " also used as the default for device_id"
        )
    if serial is not None or name:
        device.values["device_id"] = name if serial is None else serial

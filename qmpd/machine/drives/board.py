"""The devices that a board has for its drives: IDE disks and CD-ROMs, floppies, flash."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qmpd.block.io.backend import AttachedDevice
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, WRITE
from qmpd.errors import GenericError
from qmpd.machine.devices.board import IDE_BUSES, IDE_UNITS
from qmpd.machine.devices.drives import is_read_only
from qmpd.machine.devices.places import FLOPPIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices import DeviceTree

FLASHES: Final = 2
FLASH_SECTOR: Final = 0x1000
MAX_FIRMWARE: Final = 8 << 20


@dataclass(frozen=True)
class Drive:
    """A drive as ``-drive`` has made it.

    :param interface: its `if`
    :param media: disk or cdrom
    :param is_default: whether nobody has asked for it
    :param location: the option that did
    """

    interface: str
    bus: int
    unit: int
    media: str
    backend: BlockBackend
    is_default: bool
    location: str


def attach_drives(
    devices: DeviceTree, drives: Sequence[Drive], report: Callable[[str], None]
) -> None:
    """Make the devices that the board has for `drives`.

    :param report: takes complaints that come before the error that is raised
    :raises GenericError: with QEMU's text
    """
    kind = devices.board.type
    if kind == "none":
        return
    _attach_flash(sorted(_at(drives, "pflash", 1, FLASHES), key=lambda drive: drive.unit), report)
    ide = _at(drives, "ide", IDE_BUSES[kind], IDE_UNITS[kind])
    floppies = _at(drives, "floppy", 1, FLOPPIES)
    numbers = devices.lay_out(len(ide), len(floppies))
    for interface in sorted(("ide", "floppy"), key=lambda name: numbers[name]):
        of_kind = sorted(
            ide if interface == "ide" else floppies, key=lambda drive: (drive.bus, drive.unit)
        )
        for number, drive in enumerate(of_kind, numbers[interface]):
            model = f"ide-{'cd' if drive.media == 'cdrom' else 'hd'}"
            bus = f"ide.{drive.bus}"
            if interface == "floppy":
                model, bus = "floppy", "floppy-bus.0"
            devices.add_for_drive(model, number, bus, drive.unit, drive.backend)


def _at(drives: Sequence[Drive], interface: str, buses: int, units: int) -> list[Drive]:
    return [
        drive
        for drive in drives
        if drive.interface == interface and drive.bus < buses and drive.unit < units
    ]


def _attach_flash(drives: Sequence[Drive], report: Callable[[str], None]) -> None:
    """Have firmware in the flash of the board.

    :raises GenericError: it does not fit
    """
    if drives and drives[0].unit:
        raise GenericError("pflash1 requires pflash0")
    total = 0
    for drive in drives:
        backend = drive.backend
        backend.attach_device(AttachedDevice(f"/machine/system.flash{drive.unit}"))
        if backend.node is None:
            raise GenericError(
                f"can't get size of block device {backend.name}: {os.strerror(errno.ENOMEDIUM)}"
            )
        size = backend.node.length
        if not size or size % FLASH_SECTOR:
            name = backend.name
            report(f"system firmware block device {name} has invalid size {size}")
            raise GenericError(f"info: its size must be a non-zero multiple of {FLASH_SECTOR:#x}")
        total += size
        if total > MAX_FIRMWARE:
            raise GenericError(f"combined size of system firmware exceeds {MAX_FIRMWARE} bytes")
        perm = CONSISTENT_READ | (0 if is_read_only(backend) else WRITE)
        backend.set_permissions(perm, ALL)


def orphan_complaints(drives: Sequence[Drive]) -> Iterator[tuple[str, str]]:
    """What is wrong with the drives that the machine has no device for.

    :returns: QEMU's text (``drive_check_orphaned``) and the option, for each of them
    """
    for drive in drives:
        if drive.backend.device is None and not drive.is_default and drive.interface != "none":
            place = f"if={drive.interface},bus={drive.bus},unit={drive.unit}"
            yield f"machine type does not support {place}", drive.location

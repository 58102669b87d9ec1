"""The devices that a board has for its drives: IDE disks and CD-ROMs, floppies, flash."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, WRITE
from qmpd.errors import GenericError
from qmpd.machine.devices.board import IDE_BUSES, IDE_UNITS
from qmpd.machine.devices.drives import is_read_only
from qmpd.machine.devices.places import FLOPPIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.io.device_ops import DriveInfo
    from qmpd.machine.devices.tree import DeviceTree

FLASHES: Final = 2
FLASH_SECTOR: Final = 0x1000
MAX_FIRMWARE: Final = 8 << 20


Drive = tuple["DriveInfo", "BlockBackend"]
"""A drive: what ``-drive`` said, and the backend that it made."""


async def attach_drives(
    devices: DeviceTree, drives: Sequence[Drive], report: Callable[[str], None]
) -> None:
    """Make the board's devices for `drives`.

    :param report: takes complaints that come before the error that is raised
    :raises GenericError: with QEMU's text
    """
    kind = devices.board.type
    if kind == "none":
        return
    _attach_flash(_at(drives, "pflash", 1, FLASHES), report)
    ide = _at(drives, "ide", IDE_BUSES[kind], IDE_UNITS[kind])
    floppies = _at(drives, "floppy", 1, FLOPPIES)
    numbers = devices.lay_out(len(ide), len(floppies))
    for interface in sorted(("ide", "floppy"), key=lambda name: numbers[name]):
        of_kind = ide if interface == "ide" else floppies
        for number, (info, backend) in enumerate(of_kind, numbers[interface]):
            model = f"ide-{'cd' if info.media == 'cdrom' else 'hd'}"
            bus = f"ide.{info.bus}"
            if interface == "floppy":
                model, bus = "floppy", "floppy-bus.0"
            await devices.add_for_drive(model, number, bus, info.unit, backend)


def _at(drives: Sequence[Drive], interface: str, buses: int, units: int) -> list[Drive]:
    """The drives of an interface that are within its places, in the order of these."""
    found = [
        (info, backend)
        for info, backend in drives
        if info.interface == interface and info.bus < buses and info.unit < units
    ]
    return sorted(found, key=lambda drive: (drive[0].bus, drive[0].unit))


def _attach_flash(drives: Sequence[Drive], report: Callable[[str], None]) -> None:
    """Attach the firmware in the board's flash (``pc_system_flash_map``).

    :raises GenericError: it does not fit
    """
    if drives and drives[0][0].unit:
        raise GenericError("pflash1 requires pflash0")
    total = 0
    for info, backend in drives:
        backend.attach_device(f"/machine/system.flash{info.unit}")
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
        perm = CONSISTENT_READ | (NOTHING if is_read_only(backend) else WRITE)
        backend.set_permissions(perm, ALL)


def orphan_complaints(drives: Sequence[Drive]) -> Iterator[tuple[str, str]]:
    """Complaints about the drives that the machine has no device for.

    :returns: QEMU's text (``drive_check_orphaned``) and the option, for each of them
    """
    for info, backend in drives:
        if backend.device_id is None and not info.is_default and info.interface != "none":
            place = f"if={info.interface},bus={info.bus},unit={info.unit}"
            yield f"machine type does not support {place}", info.location

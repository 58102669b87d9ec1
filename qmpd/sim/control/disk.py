"""Commands of schema module sim-guest about disks: what a guest does with them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.sim.control.binary import read_base64
from qmpd.sim.control.context import Context, Handlers
from qmpd.sim.guests.disk import GuestDisk, all_disks

if TYPE_CHECKING:
    from qmpd.profile.control.models.sim_guest import (
        XSimDiskDiscardArguments,
        XSimDiskFlushArguments,
        XSimDiskMapArguments,
        XSimDiskReadArguments,
        XSimDiskWriteArguments,
        XSimDiskWriteZeroesArguments,
    )


def query_disks(context: Context, _: None) -> list[dict[str, Any]]:
    """The disks that a guest can use."""
    return [{"name": name, "size": size} for name, size in all_disks(context.bench).items()]


async def disk_read(context: Context, arguments: XSimDiskReadArguments) -> dict[str, str]:
    """Read bytes."""
    disk = GuestDisk(context.bench, arguments.disk)
    data = await disk.read(arguments.offset, arguments.length)
    return {"data": base64.b64encode(data).decode()}


async def disk_write(context: Context, arguments: XSimDiskWriteArguments) -> None:
    """Write bytes, or a byte again and again."""
    if arguments.data is not None:
        if arguments.length is not None or arguments.pattern is not None:
            raise GenericError("Parameters 'data' and 'pattern', 'length' are mutually exclusive")
        data = read_base64("data", arguments.data)
    elif arguments.length is not None:
        data = bytes([arguments.pattern or 0]) * arguments.length
    else:
        raise GenericError("Parameter 'data' or 'length' is missing")
    disk = GuestDisk(context.bench, arguments.disk)
    await disk.write(arguments.offset, data, fua=bool(arguments.fua))


async def disk_write_zeroes(context: Context, arguments: XSimDiskWriteZeroesArguments) -> None:
    """Write zeroes without sending them."""
    disk = GuestDisk(context.bench, arguments.disk)
    await disk.write_zeroes(arguments.offset, arguments.length, unmap=bool(arguments.unmap))


async def disk_discard(context: Context, arguments: XSimDiskDiscardArguments) -> None:
    """Say that an area is no longer needed."""
    await GuestDisk(context.bench, arguments.disk).discard(arguments.offset, arguments.length)


async def disk_flush(context: Context, arguments: XSimDiskFlushArguments) -> None:
    """Make everything durable."""
    await GuestDisk(context.bench, arguments.disk).flush()


async def disk_map(context: Context, arguments: XSimDiskMapArguments) -> list[dict[str, Any]]:
    """What holds each area of the disk."""
    areas = await GuestDisk(context.bench, arguments.disk).map()
    return [
        {name: value for name, value in area._asdict().items() if value is not None}
        for area in areas
    ]


HANDLERS: Final[Handlers] = {
    "x-sim-query-disks": query_disks,
    "x-sim-disk-read": disk_read,
    "x-sim-disk-write": disk_write,
    "x-sim-disk-write-zeroes": disk_write_zeroes,
    "x-sim-disk-discard": disk_discard,
    "x-sim-disk-flush": disk_flush,
    "x-sim-disk-map": disk_map,
}

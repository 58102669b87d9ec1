"""Block sizes and geometry of disks: given by properties, or computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import SECTOR
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices.device import Device

UNSET: Final = 0xFFFFFFFF
"""The value of a 32-bit property that is not set: -1."""

SMALL_DISK: Final = 4096
"""The least granularity of discards that SCSI and NVMe disks tell their guests of, in bytes."""

_GEOMETRY: Final = ("cyls", "heads", "secs")
_UNITS_OF_16_BITS: Final = 0xFFFF
_MOST_CYLINDERS: Final = 16383
_MOST_HEADS: Final = 16


def check_block_sizes(device: Device) -> None:
    """Set and check the block sizes (``blkconf_blocksizes``).

    :raises GenericError: they contradict each other
    """
    values = device.values
    logical = values.get("logical_block_size") or SECTOR
    physical = values.get("physical_block_size") or SECTOR
    values["logical_block_size"], values["physical_block_size"] = logical, physical
    if logical > physical:
        raise GenericError("logical_block_size > physical_block_size not supported")
    least = values.get("min_io_size", 0)
    if least % logical:
        raise GenericError("min_io_size must be a multiple of logical_block_size")
    if least // logical > _UNITS_OF_16_BITS:
        raise GenericError(f"min_io_size must not exceed {_UNITS_OF_16_BITS} logical blocks")
    if values.get("opt_io_size", 0) % logical:
        raise GenericError("opt_io_size must be a multiple of logical_block_size")
    granularity = values.get("discard_granularity", UNSET)
    if granularity != UNSET and granularity % logical:
        raise GenericError("discard_granularity must be a multiple of logical_block_size")


async def settle_geometry(device: Device, backend: BlockBackend, *limits: int) -> None:
    """Set and check cylinders, heads and sectors of a disk (``blkconf_geometry``).

    Where they are not given, the disk's first sector is read: a partition table tells what
    somebody thought of them before (``hd_geometry_guess``).

    :param limits: the largest number of each
    :raises GenericError: what was given is out of bounds
    """
    values = device.values
    if not any(values.get(name) for name in _GEOMETRY):
        length = 0 if backend.node is None else backend.node.length
        told = await _told_by_partitions(backend, length // SECTOR)
        if told is not None and told[1] <= _MOST_HEADS:
            cylinders, heads, sectors = told
            translation = "none"
        else:
            cylinders = min(max(length // SECTOR // (16 * 63), 2), _MOST_CYLINDERS)
            heads, sectors = 16, 63
            if told is None:
                translation = "none" if cylinders <= 1024 else "lba"
            else:
                translation = "large" if cylinders * heads <= 131072 else "lba"
        values.update(cyls=cylinders, heads=heads, secs=sectors)
        if device.get("bios-chs-trans", "") == "auto":
            values["bios-chs-trans"] = translation
    for name, limit in zip(_GEOMETRY, limits, strict=True):
        if not 1 <= values.get(name, 0) <= limit:
            raise GenericError(f"{name} must be between 1 and {limit}")


async def _told_by_partitions(
    backend: BlockBackend, number_of_sectors: int
) -> tuple[int, int, int] | None:
    """The geometry by which a partition ends on a cylinder's boundary (``guess_disk_lchs``).

    :returns: cylinders, heads and sectors; None where no partition tells
    """
    try:
        sector = await backend.pread(0, SECTOR)
    except BlockIOError:
        return None
    if sector[510:] != b"\x55\xaa":
        return None
    for start in range(0x1BE, 0x1FE, 16):
        heads = sector[start + 5]
        sectors = sector[start + 6] & 63
        if not heads or not sectors or not any(sector[start + 12 : start + 16]):
            continue
        cylinders = number_of_sectors // ((heads + 1) * sectors)
        if 1 <= cylinders <= _MOST_CYLINDERS:
            return cylinders, heads + 1, sectors
    return None

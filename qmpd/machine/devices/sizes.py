"""Block sizes and geometry of disks: given by properties, or computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import SECTOR
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device

UNSET: Final = 0xFFFFFFFF
"""The value of a 32-bit property that is not set: -1."""

_GEOMETRY: Final = ("cyls", "heads", "secs")
_UNITS_OF_16_BITS: Final = 0xFFFF


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


def settle_geometry(device: Device, length: int, *limits: int) -> None:
    """Set and check cylinders, heads and sectors of a disk (``blkconf_geometry``).

    :param length: of the disk, in bytes

    :param limits: the largest number of each
    :raises GenericError: what was given is out of bounds
    """
    values = device.values
    if not any(values.get(name) for name in _GEOMETRY):
        cylinders = min(max(length // SECTOR // (16 * 63), 2), 16383)
        values.update(cyls=cylinders, heads=16, secs=63)
        if device.get("bios-chs-trans", "") == "auto":
            values["bios-chs-trans"] = "none" if cylinders <= 1024 else "lba"
    for name, limit in zip(_GEOMETRY, limits, strict=True):
        if not 1 <= values.get(name, 0) <= limit:
            raise GenericError(f"{name} must be between 1 and {limit}")

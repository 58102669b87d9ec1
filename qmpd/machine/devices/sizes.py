"""Sizes and geometry of block devices: what was given, and what is worked out for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device

UNSET: Final = 0xFFFFFFFF
"""What a 32-bit property says that nobody has set: minus one."""

_GEOMETRY: Final = ("cyls", "heads", "secs")
_UNITS_OF_16_BITS: Final = 0xFFFF


def check_block_sizes(device: Device) -> None:
    """Settle the sizes of blocks.

    :raises GenericError: they do not go together
    """
    values = device.values
    logical = values.get("logical_block_size") or 512
    physical = values.get("physical_block_size") or 512
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
    """Settle cylinders, heads and sectors of a disk of `length` bytes.

    :param limits: the largest number of each
    :raises GenericError: what was given is out of bounds
    """
    values = device.values
    if not any(values.get(name) for name in _GEOMETRY):
        cylinders = min(max(length // 512 // (16 * 63), 2), 16383)
        values.update(cyls=cylinders, heads=16, secs=63)
        if device.get("bios-chs-trans", "") == "auto":
            values["bios-chs-trans"] = "none" if cylinders <= 1024 else "lba"
    for name, limit in zip(_GEOMETRY, limits, strict=True):
        if not 1 <= values.get(name, 0) <= limit:
            raise GenericError(f"{name} must be between 1 and {limit}")

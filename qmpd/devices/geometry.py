"""Sizes and geometry of block devices: what was given, and what is worked out for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.devices.block_device import BlockDevice


def check_block_sizes(device: BlockDevice) -> None:
    """Settle the sizes of blocks.

    :raises GenericError: they do not go together
    """
    given = device.given
    logical = given.get("logical_block_size") or 512
    physical = given.get("physical_block_size") or 512
    given["logical_block_size"], given["physical_block_size"] = logical, physical
    if logical > physical:
        raise GenericError("logical_block_size > physical_block_size not supported")
    for name in ("min_io_size", "opt_io_size"):
        if given.get(name, 0) % logical:
            raise GenericError(f"{name} must be a multiple of logical_block_size")
    granularity = given.get("discard_granularity", 2**32 - 1)
    if granularity != 2**32 - 1 and granularity % logical:
        raise GenericError("discard_granularity must be a multiple of logical_block_size")


def settle_geometry(device: BlockDevice, limits: tuple[int, int, int], length: int) -> None:
    """Settle cylinders, heads and sectors of a disk of `length` bytes.

    :param limits: the largest numbers of each
    :raises GenericError: what was given is out of bounds
    """
    given: dict[str, Any] = device.given
    names = ("cyls", "heads", "secs")
    if not any(given.get(name, 0) for name in names):
        cylinders = length // 512 // (16 * 63)
        given["cyls"] = min(max(cylinders, 2), 16383)
        given["heads"], given["secs"] = 16, 63
        if "bios-chs-trans" in dict(device.properties()) and given.get(
            "bios-chs-trans", "auto"
        ) == "auto":
            low = given["cyls"] <= 1024
            given["bios-chs-trans"] = "none" if low else "lba"
    for name, limit in zip(names, limits, strict=True):
        if not 1 <= given.get(name, 0) <= limit:
            raise GenericError(f"{name} must be between 1 and {limit}")

"""Units and limits of QEMU's block layer, and of C's integers."""

from __future__ import annotations

from typing import Final

SECTOR: Final = 512
"""Bytes of a sector (``BDRV_SECTOR_SIZE``), the unit of disks and of old image formats."""

INT_MAX: Final = (1 << 31) - 1
"""Largest C ``int``."""

INT_MIN: Final = -(1 << 31)
"""Smallest C ``int``."""

REQUEST_MAX_BYTES: Final = INT_MAX // SECTOR * SECTOR
"""Longest request of the block layer, in bytes (``BDRV_REQUEST_MAX_BYTES``)."""


def as_int(number: int) -> int:
    """What a C ``int`` keeps of a number that is assigned to it."""
    return (number - INT_MIN) % (1 << 32) + INT_MIN


def as_int64(number: int) -> int:
    """What an ``int64_t`` keeps of a number that is assigned to it, as QAPI's int does."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def as_uint64(number: int) -> int:
    """What a ``uint64_t`` keeps of a number that is assigned to it."""
    return number % (1 << 64)

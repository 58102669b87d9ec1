"""Limits and units that QEMU's block layer counts in."""

from __future__ import annotations

from typing import Final

SECTOR: Final = 512
"""Bytes of a sector (``BDRV_SECTOR_SIZE``), which disks and old image formats count in."""

INT_MAX: Final = (1 << 31) - 1
"""Largest C ``int``."""

INT_MIN: Final = -(1 << 31)
"""Smallest C ``int``."""

REQUEST_MAX_BYTES: Final = INT_MAX // SECTOR * SECTOR
"""Longest request that is passed on whole, in bytes (``BDRV_REQUEST_MAX_BYTES``)."""

"""Floppy drives."""

from __future__ import annotations

from qmpd.devices.block_device import BlockDevice
from qmpd.devices.device import UNSET
from qmpd.devices.geometry import check_block_sizes
from qmpd.errors import GenericError

UNITS = 2
"""Drives of a controller."""


class Floppy(BlockDevice):
    """floppy."""

    keeps_io_status = False

    @property
    def is_removable(self) -> bool:
        """See `BlockDevice.is_removable`."""
        return True

    def realize(self) -> None:
        """See `Device.realize`."""
        bus = self.bus
        assert bus is not None
        used = {d.given.get("unit") for d in bus.devices if isinstance(d, Floppy)}
        unit = self.given.get("unit", UNSET)
        if unit == UNSET:
            unit = next((n for n in range(UNITS) if n not in used), UNITS)
        if unit >= UNITS:
            raise GenericError(
                f"Can't create floppy unit {unit}, bus supports only {UNITS} units"
            )
        if unit in used:
            raise GenericError(f"Floppy unit {unit} is in use")
        if self.backend is None:
            self.make_empty_backend()
        backend = self.require_drive()
        check_block_sizes(self)
        if (self.given["logical_block_size"], self.given["physical_block_size"]) != (512, 512):
            raise GenericError("Physical and logical block size must be 512 for floppy")
        read_only = backend.node is None or self.is_read_only(backend)
        self.apply_options(read_only=read_only, resizable=False)
        if self.policy("write") not in ("enospc", "report"):
            raise GenericError("fdc doesn't support drive option werror")
        if self.policy("read") != "report":
            raise GenericError("fdc doesn't support drive option rerror")
        self.given["unit"] = unit

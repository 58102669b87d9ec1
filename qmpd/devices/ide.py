"""IDE and AHCI: disks and CD-ROMs."""

from __future__ import annotations

from typing import ClassVar

from qmpd.devices.block_device import BlockDevice
from qmpd.devices.device import UNSET
from qmpd.devices.geometry import check_block_sizes, settle_geometry
from qmpd.errors import GenericError


class IdeDevice(BlockDevice):
    """What disks and CD-ROMs have in common."""

    is_cd: ClassVar[bool] = False

    def realize(self) -> None:
        """See `Device.realize`: a unit of the bus, then the drive."""
        self._take_unit()
        if self.backend is None:
            if not self.is_cd:
                raise GenericError("No drive specified")
            self.make_empty_backend()
        backend = self.require_drive()
        granularity = self.given.get("discard_granularity", UNSET)
        if granularity not in (UNSET, 512):
            raise GenericError("discard_granularity must be 512 for ide")
        self.given["discard_granularity"] = 512
        check_block_sizes(self)
        if self.given["logical_block_size"] != 512:
            raise GenericError("logical_block_size must be 512 for IDE")
        if not self.is_cd:
            length = 0 if backend.node is None else backend.node.length
            settle_geometry(self, (65535, 16, 255), length)
        self.apply_options(read_only=self.is_cd, resizable=not self.is_cd)
        if not self.is_cd:
            self.require_medium(backend)
            if self.is_read_only(backend):
                raise GenericError("Can't use a read-only drive")
        if "serial" not in self.given:
            self.given["serial"] = f"QM{self.machine.devices.next_ide_serial():05}"

    def _take_unit(self) -> None:
        bus = self.bus
        assert bus is not None
        units = 2 if bus.owner is not None and "ahci" not in bus.owner.qom_type else 1
        used = {d.given.get("unit") for d in bus.devices if isinstance(d, IdeDevice)}
        unit = self.given.get("unit", UNSET)
        if unit == UNSET:
            unit = 1 if 0 in used else 0
        if unit >= units:
            raise GenericError(f"Can't create IDE unit {unit}, bus supports only {units} units")
        if unit in used:
            raise GenericError(f"IDE unit {unit} is in use")
        self.given["unit"] = unit


class IdeDisk(IdeDevice):
    """ide-hd."""


class IdeCD(IdeDevice):
    """ide-cd."""

    is_cd = True
    has_tray = True

    @property
    def is_removable(self) -> bool:
        """See `BlockDevice.is_removable`."""
        return True

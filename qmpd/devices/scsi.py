"""SCSI: host adapters with their buses, disks and CD-ROMs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from qmpd.devices.block_device import BlockDevice
from qmpd.devices.device import UNSET
from qmpd.devices.geometry import check_block_sizes, settle_geometry
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.devices.bus import Bus


class Limits(NamedTuple):
    """The largest addresses on a bus."""

    channel: int
    target: int
    lun: int


LIMITS: Final = {
    "virtio-scsi-device": Limits(0, 255, 16383),
    "lsi53c895a": Limits(0, 7, 0),
    "megasas": Limits(0, 64, 255),
    "am53c974": Limits(0, 7, 7),
    "usb-storage": Limits(0, 0, 0),
    "usb-uas": Limits(0, 255, 255),
}
"""The largest addresses by the adapter that brings the bus."""

_NOWHERE: Final = Limits(0, 0, 0)


class ScsiDevice(BlockDevice):
    """What disks and CD-ROMs have in common."""

    unplugs_at_once = True
    block_size: ClassVar[int | None] = None
    """The block size of models that have but one."""

    def realize(self) -> None:
        """See `Device.realize`: an address, then the drive."""
        self._take_address()
        self.prepare_drive()
        backend = self.require_drive()
        if not self.is_removable:
            self.require_medium(backend)
        check_block_sizes(self)
        if self.block_size is None:
            length = 0 if backend.node is None else backend.node.length
            settle_geometry(self, (65535, 255, 255), length)
        read_only = self.is_read_only(backend)
        self.apply_options(
            read_only=read_only or self.block_size is not None,
            resizable=self.block_size is None,
        )
        if self.given.get("discard_granularity", UNSET) == UNSET:
            self.given["discard_granularity"] = max(self.given["logical_block_size"], 4096)

    def prepare_drive(self) -> None:
        """Make sure of a drive before it is looked at."""

    def _take_address(self) -> None:
        """Settle channel, target and unit.

        :raises GenericError: the address does not exist, or is taken
        """
        bus = self.bus
        assert bus is not None
        limits = LIMITS.get("" if bus.owner is None else bus.owner.qom_type, _NOWHERE)
        channel = self.given.get("channel", 0)
        target = _signed(self.given.get("scsi-id", UNSET))
        lun = _signed(self.given.get("lun", UNSET))
        if channel > limits.channel:
            raise GenericError(f"bad scsi channel id: {channel}")
        if target != -1 and not 0 <= target <= limits.target:
            raise GenericError(f"bad scsi device id: {target}")
        if lun != -1 and not 0 <= lun <= limits.lun:
            raise GenericError(f"bad scsi device lun: {lun}")
        taken = _addresses(bus, self)
        if target == -1:
            lun = max(lun, 0)
            target = next(
                (t for t in range(limits.target + 1) if (channel, t, lun) not in taken), -1
            )
            if target == -1:
                raise GenericError("no free target")
        elif lun == -1:
            lun = next((n for n in range(limits.lun + 1) if (channel, target, n) not in taken), -1)
            if lun == -1:
                raise GenericError("no free lun")
        elif (channel, target, lun) in taken:
            name = taken[channel, target, lun].id
            raise GenericError(f"lun already used by '{name or ''}'")
        self.given |= {"channel": channel, "scsi-id": target, "lun": lun}


def _signed(value: int) -> int:
    """A 32-bit property as the signed number it stands for."""
    return value - 2**32 if value >> 31 else value


def _addresses(bus: Bus, but: ScsiDevice) -> dict[tuple[int, int, int], ScsiDevice]:
    """The addresses that are taken on `bus`."""
    return {
        (device.given["channel"], device.given["scsi-id"], device.given["lun"]): device
        for device in bus.devices
        if isinstance(device, ScsiDevice) and device is not but and "lun" in device.given
    }


class ScsiDisk(ScsiDevice):
    """scsi-hd."""

    has_tray = True

    @property
    def is_removable(self) -> bool:
        """See `BlockDevice.is_removable`: a disk is, where it is said to be."""
        return bool(self.given.get("removable"))


class ScsiCD(ScsiDevice):
    """scsi-cd."""

    has_tray = True
    block_size = 2048

    @property
    def is_removable(self) -> bool:
        """See `BlockDevice.is_removable`."""
        return True

    def prepare_drive(self) -> None:
        """See `ScsiDevice.prepare_drive`: it may be empty."""
        if self.backend is None:
            self.make_empty_backend()


class ScsiPassthrough(ScsiDevice):
    """scsi-block and scsi-generic: they need a SCSI device of the host."""

    def realize(self) -> None:
        """See `Device.realize`: there is never such a device.

        :raises GenericError: with QEMU's text for a drive that is none
        """
        self._take_address()
        backend = self.require_drive()
        self.require_medium(backend)
        raise NotServed("qmpd does not serve SCSI devices of the host")

"""USB storage: a SCSI disk inside."""

from __future__ import annotations

from qmpd.devices.block_device import BlockDevice
from qmpd.devices.device import Device
from qmpd.devices.geometry import check_block_sizes
from qmpd.devices.scsi import ScsiDisk


class UsbDevice(Device):
    """A device on a USB bus."""

    unplugs_at_once = True


class UsbStorage(BlockDevice):
    """usb-storage: its drive goes to a disk that it makes on its own SCSI bus."""

    unplugs_at_once = True

    @property
    def block_device(self) -> BlockDevice | None:
        """See `Device.block_device`: the disk."""
        disk = self.child_buses[0].children.get("legacy[0]")
        return disk if isinstance(disk, BlockDevice) else None

    @property
    def is_removable(self) -> bool:
        """See `BlockDevice.is_removable`."""
        return bool(self.given.get("removable"))

    def realize(self) -> None:
        """See `Device.realize`."""
        backend = self.require_drive()
        check_block_sizes(self)
        self.apply_options(read_only=self.is_read_only(backend), resizable=True)
        backend.detach_device()
        self.backend = None
        disk = self.machine.devices.make("scsi-hd", None)
        assert isinstance(disk, ScsiDisk)
        bus = self.child_buses[0]
        bus.add_child("legacy[0]", disk)
        disk.owns_backend = self.owns_backend
        self.owns_backend = False
        disk.hotplugged = self.hotplugged
        for name in _PASSED_ON:
            if name in self.given:
                disk.given[name] = self.given[name]
        disk.take(backend)
        bus.plug(disk)
        disk.realize()
        disk.plugged()


_PASSED_ON = (
    "logical_block_size physical_block_size min_io_size opt_io_size discard_granularity share-rw"
    " write-cache account-invalid account-failed rerror werror removable serial bootindex".split()
)
"""Properties that the disk takes over."""

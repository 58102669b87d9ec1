"""NVMe controllers and their namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.devices.block_device import BlockDevice
from qmpd.devices.geometry import check_block_sizes
from qmpd.devices.pci import PciDevice
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.devices.qom import Listing
    from qmpd.machine import Machine


class Nvme(BlockDevice, PciDevice):
    """nvme: with a drive it has a namespace of its own."""

    keeps_io_status = False

    def __init__(
        self,
        machine: Machine,
        qom_type: str,
        listing: Listing = (),
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(machine, qom_type, listing, values)

    def realize(self) -> None:
        """See `Device.realize`."""
        if not self.given.get("serial"):
            raise GenericError("serial property not set")
        PciDevice.realize(self)
        if self.backend is None:
            return
        self.require_medium(self.backend)
        check_block_sizes(self)
        self.apply_options(read_only=self.is_read_only(self.backend), resizable=False)


class NvmeNamespace(BlockDevice):
    """nvme-ns."""

    keeps_io_status = False
    unplugs_at_once = True

    def realize(self) -> None:
        """See `Device.realize`."""
        backend = self.require_drive("block backend not configured")
        self.require_medium(backend)
        check_block_sizes(self)
        self.apply_options(read_only=self.is_read_only(backend), resizable=False)

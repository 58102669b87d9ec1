"""virtio: a PCI function in front, the device proper behind it on a bus of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.devices.block_device import BlockDevice
from qmpd.devices.device import UNSET, Device
from qmpd.devices.geometry import check_block_sizes, settle_geometry
from qmpd.devices.pci import PciDevice
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.devices.bus import Bus

MAX_QUEUE_SIZE = 1024
AUTO_QUEUES = 0xFFFF
"""num-queues that leaves the number to the device."""


class VirtioPci(PciDevice):
    """The function in front: it passes on what is meant for the device behind it."""

    @property
    def behind(self) -> Device:
        """The device proper."""
        found = self.children["virtio-backend"]
        assert isinstance(found, Device)
        return found

    @property
    def block_device(self) -> BlockDevice | None:
        """See `Device.block_device`."""
        return self.behind.block_device

    @property
    def inner_bus(self) -> Bus:
        """The bus between the two."""
        return self.child_buses[0]

    def _is_behind(self, name: str) -> bool:
        return name not in _OWN and any(known == name for known, _ in self.behind.properties())

    def get_property(self, name: str) -> Any:
        """See `QomObject.get_property`."""
        if self._is_behind(name):
            return self.behind.get_property(name)
        return super().get_property(name)

    def assign(self, name: str, value: Any, *, keyval: bool) -> None:
        """See `Device.assign`."""
        if self._is_behind(name):
            self.behind.assign(name, value, keyval=keyval)
        else:
            super().assign(name, value, keyval=keyval)

    def realize(self) -> None:
        """See `Device.realize`."""
        super().realize()
        self.behind.hotplugged = self.hotplugged
        self.inner_bus.plug(self.behind)
        self.behind.realize()

    def plugged(self) -> None:
        """See `Device.plugged`."""
        self.behind.plugged()
        super().plugged()


_OWN = frozenset(("type", "parent_bus", "realized", "hotplugged", "hotpluggable"))
"""Properties that both have."""


class VirtioBlk(BlockDevice):
    """virtio-blk-device."""

    def realize(self) -> None:
        """See `Device.realize`."""
        backend = self.require_drive()
        self.require_medium(backend)
        queues = self.given.get("num-queues", AUTO_QUEUES)
        if queues == AUTO_QUEUES:
            self.given["num-queues"] = 1
        elif not queues:
            raise GenericError("num-queues property must be larger than 0")
        size = self.given.get("queue-size", 256)
        if size <= 2:
            raise GenericError(f"invalid queue-size property ({size}), must be > 2")
        if size & (size - 1) or size > MAX_QUEUE_SIZE:
            raise GenericError(
                f"invalid queue-size property ({size}), must be a power of 2"
                f" (max {MAX_QUEUE_SIZE})"
            )
        assert backend.node is not None
        self.apply_options(read_only=self.is_read_only(backend), resizable=True)
        settle_geometry(self, (65535, 255, 255), backend.node.length)
        check_block_sizes(self)
        self.given.setdefault("discard_granularity", UNSET)

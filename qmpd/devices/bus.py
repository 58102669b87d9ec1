"""Buses: what devices are plugged into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.devices.qom import QomObject
from qmpd.devices.types import qom_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.devices.device import Device
    from qmpd.devices.qom import Listing

CAPACITY: Final = {"IDE": 2, "virtio-pci-bus": 1}
"""How many devices a bus takes, by type; any number where it is not here."""

HOTPLUG: Final = frozenset(("SCSI", "usb-bus", "nvme-bus", "virtio-serial-bus"))
"""Types of buses on which devices come and go while the machine runs; PCI has rules of its own."""


class Bus(QomObject):
    """One bus.

    :param qom_type: its type
    :param listing: see `QomObject`
    :param values: see `QomObject`
    """

    def __init__(
        self, qom_type: str, listing: Listing = (), values: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(qom_type, listing, values)
        self.devices: list[Device] = []
        """The devices on it, the newest first."""
        self.owner: Device | None = None
        """The device that brings it."""
        self.hotplug = qom_type in HOTPLUG
        """Whether devices come and go while the machine runs."""
        self._plugged = 0

    @property
    def full(self) -> bool:
        """Whether it takes no further device."""
        capacity = CAPACITY.get(self.qom_type)
        return capacity is not None and len(self.devices) >= capacity

    def takes(self, bus_type: str) -> bool:
        """Whether it is a bus for devices that go on `bus_type`."""
        return qom_types().is_a(self.qom_type, bus_type)

    def plug(self, device: Device) -> None:
        """Put `device` onto it."""
        self.devices.insert(0, device)
        device.bus = self
        name = f"child[{self._plugged}]"
        self._plugged += 1
        self.links[name] = (device.qom_type, lambda: device)
        device.slot_name = name

    def unplug(self, device: Device) -> None:
        """Take `device` off it."""
        self.devices.remove(device)
        del self.links[device.slot_name]

    def find_device(self, name: str) -> Device | None:
        """The device meant by one part of a bus path: an id, a model, or its other name."""
        from qmpd.devices.models import model_name

        for matches in (
            lambda device: device.id == name,
            lambda device: device.qom_type == name,
            lambda device: device.qom_type == model_name(name),
        ):
            found = next((device for device in self.devices if matches(device)), None)
            if found is not None:
                return found
        return None

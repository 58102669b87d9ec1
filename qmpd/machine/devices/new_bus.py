"""Buses that a device brings when it is realized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.machine.devices.device import Bus

if TYPE_CHECKING:
    from qmpd.machine.devices.chassis import Devices
    from qmpd.machine.devices.device import Device


def add_bus(
    device: Device, tree: Devices, kind: str, stem: str, owner_id: str | None, **more: Any
) -> Bus:
    """Add a bus to a device, named after the device's id, or numbered if it has none.

    :param more: further attributes of the bus
    """
    name = f"{owner_id}.{len(device.buses)}" if owner_id is not None else tree.bus_name(stem)
    bus = Bus(name, kind, f"{device.path}/{name}", hotplug=True, **more)
    device.buses.add(bus)
    return bus

"""The containers of the QOM tree that devices are in, and how devices are found there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.ghash import GHashTable
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.machine.devices.board import CONTAINERS, PERIPHERAL, UNATTACHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices.chassis import Chassis
    from qmpd.machine.devices.device import Device


class DeviceContainers:
    """The devices of a machine by their names.

    :param chassis: the machine
    """

    def __init__(self, chassis: Chassis) -> None:
        self.chassis = chassis
        self.peripheral: GHashTable[Device] = GHashTable()
        """Those with an id, by their ids."""
        self.peripheral_anon: GHashTable[Device] = GHashTable()
        """Those without one, by their names in the QOM tree."""
        self.unattached: GHashTable[Device] = GHashTable()
        """Those that the board has made for drives."""

    def __iter__(self) -> Iterator[Device]:
        for container in (self.peripheral, self.peripheral_anon, self.unattached):
            yield from container.values()

    def parts(self) -> Iterator[Device]:
        """All devices, with the parts that they are made of."""
        for device in self:
            yield from device.parts

    def find(self, name: str) -> Device:
        """The device called `name` (`find_device_state`).

        :param name: its path, the one below ``/machine/peripheral``, or its id
        :raises GenericError: the path leads to something else than a device
        :raises DeviceNotFound: there is nothing at the path
        """
        found = self.peripheral.get(name)
        if found is not None:
            return found
        whole = name if name.startswith("/") else f"{PERIPHERAL}/{name}"
        path = "/" + "/".join(part for part in whole.split("/") if part)
        for device in self.parts():
            if device.path == path:
                return device
            if any(bus.path == path for bus in device.buses):
                raise GenericError(f"{name} is not a device")
        objects = self.chassis.objects.objects
        if path in CONTAINERS or path in (f"/objects/{each}" for each in objects):
            raise GenericError(f"{name} is not a device")
        raise DeviceNotFound(f"Device '{name}' not found")

    def backend_of(self, name: str) -> BlockBackend:
        """The backend of the device called `name` (`blk_by_qdev_id`).

        :raises QmpError: there is no such device, or it has no backend
        """
        backend = self.find(name).backend
        if backend is None:
            raise GenericError("Device does not have a block device backend")
        return backend

    def _container_of(self, device: Device) -> tuple[GHashTable[Device], str]:
        """The container of the QOM tree that a device is in, and its name there."""
        parent, _, name = device.path.rpartition("/")
        if parent == UNATTACHED:
            return self.unattached, name
        return self.peripheral_anon if device.id is None else self.peripheral, name

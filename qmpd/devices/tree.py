"""All devices of a machine: plugging, unplugging, finding them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.backend import BlockBackend
from qmpd.block.permissions import CONSISTENT_READ, RESIZE, WRITE, WRITE_UNCHANGED
from qmpd.devices.bus import Bus, machine_buses
from qmpd.devices.device import Device
from qmpd.devices.kinds import ALIASES, KINDS, Kind
from qmpd.devices.models import is_device_model
from qmpd.devices.properties import read_property
from qmpd.errors import DeviceNotFound, GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.machine import Machine

UNPLUG_DELAY: Final = 50_000_000
"""Nanoseconds until a device that needs no guest to be unplugged is gone."""


class DeviceTree:
    """The devices of `machine`, a machine of type `machine_type` (none, pc or q35)."""

    def __init__(self, machine: Machine, machine_type: str) -> None:
        self._machine = machine
        self.machine_type = machine_type
        self.buses: list[Bus] = machine_buses(machine_type)
        self.by_id: dict[str, Device] = {}
        self.anonymous: list[Device] = []
        self._anonymous_made = 0
        self.ready = False
        """Whether the machine has been built: from then on devices are hotplugged."""

    def __iter__(self) -> Iterator[Device]:
        return iter([*self.by_id.values(), *self.anonymous])

    def find(self, name: str) -> Device:
        """The device called `name`, its id or path.

        :raises DeviceNotFound: there is none
        """
        found = self.by_id.get(name)
        if found is None:
            found = next((device for device in self if device.path == name), None)
        if found is None:
            raise DeviceNotFound(f"Device '{name}' not found")
        return found

    # Plugging in

    def add(self, options: Mapping[str, Any]) -> Device:
        """Command device_add, and -device.

        :param options: driver, id, bus and properties
        :raises QmpError: QEMU's texts
        """
        kind = self._kind(options.get("driver"))
        bus = self._bus(kind, options.get("bus"))
        if self.ready and not bus.hotplug:
            raise GenericError(f"Bus '{bus.name}' does not support hotplugging")
        device_id = options.get("id")
        if device_id is not None and device_id in self.by_id:
            raise GenericError(f"Duplicate device ID '{device_id}'")
        if device_id is None:
            path = f"/machine/peripheral-anon/device[{self._anonymous_made}]"
        else:
            path = f"/machine/peripheral/{device_id}"
        device = Device(self._machine, kind, device_id, path, {})
        if device_id is None:
            self._anonymous_made += 1
        try:
            for name, value in options.items():
                if name not in ("driver", "id", "bus"):
                    device.properties[name] = read_property(kind, name, value)
                    if name == "drive":
                        self._attach(device, value)
            self._realize(device)
        except BaseException:
            self._detach(device)
            raise
        self._enter(device, bus)
        return device

    def _enter(self, device: Device, bus: Bus) -> None:
        device.bus = bus
        bus.devices.append(device)
        if device.id is None:
            self.anonymous.append(device)
        else:
            self.by_id[device.id] = device
        if device.kind.offers is not None:
            name = f"{device.id}.0" if device.id is not None else self._bus_name(device.kind)
            device.offered = Bus(name, device.kind.offers, hotplug=True, owner=device)
            self.buses.append(device.offered)

    def _bus_name(self, kind: Kind) -> str:
        stem = "usb-bus" if kind.offers == "usb-bus" else str(kind.offers).lower()
        used = sum(bus.name.startswith(f"{stem}.") for bus in self.buses)
        return f"{stem}.{used}"

    def _kind(self, name: Any) -> Kind:
        if not isinstance(name, str):
            raise GenericError("Parameter 'driver' is missing")
        if not is_device_model(name):
            raise GenericError(f"'{name}' is not a valid device model name")
        kind = KINDS.get(ALIASES.get(name, name))
        if kind is None:
            raise NotServed(f"Device model '{name}' is not served by qmpd")
        return kind

    def _bus(self, kind: Kind, name: str | None) -> Bus:
        if name is not None:
            found = next((bus for bus in self.buses if bus.name == name), None)
            if found is None:
                raise GenericError(f"Bus '{name}' not found")
            if not _fits(kind, found):
                raise GenericError(f"Device '{kind.name}' can't go on {found.shown_kind} bus")
            if found.full:
                raise GenericError(f"Bus '{name}' is full")
            return found
        for bus in self.buses:
            if _fits(kind, bus) and not bus.full:
                return bus
        raise GenericError(f"No '{kind.bus}' bus found for device '{kind.name}'")

    def _attach(self, device: Device, drive: str) -> None:
        """Put the device on the backend, or node, that its property `drive` names."""
        graph = self._machine.graph
        backend = graph.backends.get(drive)
        if backend is None:
            node = graph.find_node(drive)
            if node is None:
                raise GenericError(
                    f"Property '{device.kind.name}.drive' can't find value '{drive}'"
                )
            backend = BlockBackend(graph, "", node)
            device.owns_backend = True
        elif backend.device is not None:
            raise GenericError(f"Drive '{drive}' is already in use by another device")
        device.backend = backend
        backend.attach_device(device.attached())

    def _realize(self, device: Device) -> None:
        kind = device.kind
        if not kind.has_drive:
            return
        if kind.needs_serial and "serial" not in device.properties:
            raise GenericError("serial property not set")
        if device.backend is None:
            if kind.is_disk:
                raise GenericError("drive property not set")
            device.backend = BlockBackend(self._machine.graph, "")
            device.owns_backend = True
            device.backend.attach_device(device.attached())
        backend = device.backend
        node = backend.node
        if node is None and kind.is_disk:
            raise GenericError("Device needs media, but drive is empty")
        read_only = node is None or node.read_only or kind.is_cd
        if kind.writes_always and read_only:
            raise GenericError("Block node is read-only")
        perm = CONSISTENT_READ | (0 if read_only else WRITE)
        shared = CONSISTENT_READ | WRITE_UNCHANGED | RESIZE
        if device.properties.get("share-rw"):
            shared |= WRITE
        backend.set_permissions(perm, shared)
        cache = device.properties.get("write-cache", "auto")
        if cache != "auto":
            backend.enable_write_cache = cache == "on"

    def change_drive(self, device: Device, drive: str) -> None:
        """Property `drive` of a device that is there: another node takes the place of its medium.

        :raises GenericError: there is no such node, or its parents object
        """
        graph = self._machine.graph
        backend = device.backend
        if backend is None or backend.node is None:
            raise GenericError("Cannot replace an empty drive")
        node = graph.find_node(drive)
        if node is None:
            raise GenericError(f"Property '{device.kind.name}.drive' can't find value '{drive}'")
        before = backend.remove_node()
        try:
            backend.insert_node(node)
        except BaseException:
            if before is not None:
                backend.insert_node(before)
            raise
        if before is not None:
            graph.clock.spawn(graph.unref(before), "device")

    def _detach(self, device: Device) -> None:
        """Take a device that could not be built from its backend."""
        backend, device.backend = device.backend, None
        if backend is None:
            return
        backend.detach_device()
        if device.owns_backend:
            node = backend.remove_node()
            self._machine.graph.forget_backend(backend)
            if node is not None:
                self._machine.graph.clock.spawn(self._machine.graph.unref(node), "device")

    # Unplugging

    def remove(self, name: str) -> None:
        """Command device_del: what needs a guest's consent waits for it.

        :raises QmpError: there is none, or its bus does not let it go
        """
        device = self.find(name)
        if device.unplugging:
            raise GenericError(f"Device {name} is already in the process of unplug")
        if device.bus is not None and not device.bus.hotplug:
            raise GenericError(f"Bus '{device.bus.name}' does not support hotplugging")
        device.unplugging = True
        if device.kind.bus in ("SCSI", "usb-bus"):
            self._machine.clock.call_later(UNPLUG_DELAY, lambda: self._unplug(device))

    def _unplug(self, device: Device) -> None:
        self._machine.clock.enter(self.unplug(device), "device_del")

    async def unplug(self, device: Device) -> None:
        """The guest lets go of a device: it is gone, which is said in an event."""
        if device.bus is not None and device in device.bus.devices:
            device.bus.devices.remove(device)
        if device.offered is not None and device.offered in self.buses:
            for child in list(device.offered.devices):
                await self.unplug(child)
            self.buses.remove(device.offered)
        backend, device.backend = device.backend, None
        if backend is not None:
            backend.detach_device()
            if device.owns_backend:
                await backend.close()
            else:
                backend.set_permissions(0, (1 << 4) - 1)
        data = {} if device.id is None else {"device": device.id}
        if device.id is None:
            self.anonymous.remove(device)
        else:
            del self.by_id[device.id]
        self._machine.events.emit("DEVICE_DELETED", {**data, "path": device.path})


def _fits(kind: Kind, bus: Bus) -> bool:
    return kind.bus == bus.kind or (kind.bus == "PCI" and bus.kind == "PCIE")

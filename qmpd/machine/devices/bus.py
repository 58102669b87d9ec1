"""Buses: what devices are plugged into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.machine.devices.kinds import ALIASES

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device

_SUBTYPES: Final = {"PCIE": "PCI", "virtio-pci-bus": "virtio-bus"}
"""Types of buses that take the devices of another type too."""


@dataclass(eq=False)
class Bus:
    """One bus.

    :param name: its name, as `bus=` has it
    :param kind: its type
    :param path: its place in the QOM tree
    :param hotplug: whether devices come and go while the machine runs
    :param capacity: how many devices it takes; None for any number
    """

    name: str
    kind: str
    path: str
    hotplug: bool = False
    capacity: int | None = None
    owner: Device | BoardDevice | None = None
    devices: list[Device | BoardDevice] = field(default_factory=list)
    """The devices on it, the newest first."""

    @property
    def plugged(self) -> list[Device]:
        """The devices on it that are not the board's."""
        return [device for device in self.devices if not isinstance(device, BoardDevice)]

    @property
    def full(self) -> bool:
        """Whether it takes no further device."""
        return self.capacity is not None and len(self.devices) >= self.capacity

    def takes(self, kind: str) -> bool:
        """Whether it is a bus for devices that go on buses of type `kind`."""
        return kind in (self.kind, _SUBTYPES.get(self.kind))


@dataclass(eq=False)
class BoardDevice:
    """A device that is part of the board: known by its place and its buses."""

    model: str
    devfn: int = -1
    buses: list[Bus] = field(default_factory=list)
    id: None = None

    @property
    def is_multifunction(self) -> bool:
        """Whether there are other functions in its slot."""
        return self.model in ("PIIX3", "ICH9-LPC")


def buses_below(start: Bus) -> Iterator[Bus]:
    """`start` and all buses below it, newer ones before older ones."""
    yield start
    for device in start.devices:
        for bus in device.buses:
            yield from buses_below(bus)


def find_bus(start: Bus, name: str | None, kind: str | None = None) -> Bus | None:
    """The first bus of this name and type at `start` or below it; rather one that is not full.

    It is looked for as QEMU does: depth first, newer devices and buses before older ones.
    """
    matches = (name is None or start.name == name) and (kind is None or start.takes(kind))
    if matches and not start.full:
        return start
    second_best = start if matches else None
    for device in start.devices:
        for bus in device.buses:
            found = find_bus(bus, name, kind)
            if found is not None and not found.full:
                return found
            second_best = second_best or found
    return second_best


def bus_at(root: Bus, path: str) -> Bus:
    """The bus that `bus=` means: names of buses and of devices on them in turn.

    :raises QmpError: there is none, or it is full
    """
    parts = [part for part in path.split("/") if part]
    bus = root
    if not path.startswith("/"):
        name = parts.pop(0) if parts else ""
        found = find_bus(root, name)
        if found is None:
            raise GenericError(f"Bus '{name}' not found")
        bus = found
    while parts:
        name = parts.pop(0)
        bus = _below(name, _device_on(bus, name), parts)
    if bus.full:
        raise GenericError(f"Bus '{path}' is full")
    return bus


def _device_on(bus: Bus, name: str) -> Device | BoardDevice:
    model = ALIASES.get(name, name)
    for wanted in ("id", "model"):
        for device in bus.devices:
            if getattr(device, wanted) == (name if wanted == "id" else model):
                return device
    raise DeviceNotFound(f"Device '{name}' not found")


def _below(name: str, device: Device | BoardDevice, parts: list[str]) -> Bus:
    """The bus of device `name` that comes next in a path; its only one where the path ends."""
    if parts:
        wanted = parts.pop(0)
        found = next((bus for bus in device.buses if bus.name == wanted), None)
        if found is None:
            raise GenericError(f"Bus '{wanted}' not found")
        return found
    if len(device.buses) != 1:
        how_many = "multiple child buses" if device.buses else "no child bus"
        raise GenericError(f"Device '{name}' has {how_many}")
    return device.buses[0]

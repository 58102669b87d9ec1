"""Finding buses, by name, type or path."""

from __future__ import annotations

from collections.abc import Iterator

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.machine.devices.device import BoardDevice, Bus, Device
from qmpd.machine.devices.kinds import ALIASES


def buses_below(start: Bus) -> Iterator[Bus]:
    """`start` and all buses below it, depth first, newer ones before older ones."""
    yield start
    for device in start.devices:
        for bus in device.buses:
            yield from buses_below(bus)


def find_bus(start: Bus, name: str | None, kind: str | None = None) -> Bus | None:
    """The first bus of this name and type at `start` or below it (``qbus_find_recursive``).

    Depth first, newer devices and buses before older ones; a bus that is full only if there is no
    other.
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
    """The bus at a path of names of buses and devices in turn (``qbus_find``).

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
    """The bus of device `name` that the path continues with, or its only one at the end."""
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

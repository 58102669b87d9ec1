"""The QOM tree as far as clients of block devices walk it: objects and devices by their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.devices.device import Device
from qmpd.devices.properties import read_property
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.objects import UserObject
from qmpd.qapi.ghash import iteration_order

if TYPE_CHECKING:
    from qmpd.machine import Machine

Entry = tuple[str, str]
"""Name and type of a property."""

_TYPE: Entry = ("type", "string")


def _objects(machine: Machine) -> list[Entry]:
    objects = machine.objects.objects
    return [
        _TYPE,
        *(
            (name, f"child<{objects[name].qom_type}>")
            for name in reversed(iteration_order(objects))
        ),
    ]


def _children(devices: list[Device], *, anonymous: bool) -> list[Entry]:
    return [
        _TYPE,
        *(
            (
                device.path.rpartition("/")[2] if anonymous else str(device.id),
                f"child<{device.kind.name}>",
            )
            for device in devices
        ),
    ]


def _device(device: Device) -> list[Entry]:
    entries = [_TYPE]
    for name, type_name in device.kind.properties.items():
        if name not in ("id", "bus", "driver"):
            entries.append((name, type_name))
    return entries


def _find(machine: Machine, path: str) -> UserObject | Device | str:
    """What `path`, or an id, means: an object, a device, or a container by its whole path.

    :raises DeviceNotFound: there is no such thing
    """
    trimmed = path.rstrip("/") or "/"
    containers = ("/", "/objects", "/machine", "/machine/peripheral", "/machine/peripheral-anon")
    if trimmed in containers:
        return trimmed
    name = trimmed.removeprefix("/objects/")
    found = machine.objects.objects.get(name)
    if found is not None:
        return found
    for device in machine.devices:
        if trimmed in (device.path, device.id, device.path + "/virtio-backend"):
            return device
    raise DeviceNotFound(f"Device '{path}' not found")


def qom_list(machine: Machine, path: str) -> list[dict[str, Any]]:
    """Command qom-list: the properties of what is at `path`.

    :raises QmpError: there is nothing
    """
    if not path:
        raise GenericError("Path '' is ambiguous")
    found = _find(machine, path)
    if isinstance(found, Device):
        entries = _device(found)
    elif isinstance(found, UserObject):
        entries = [_TYPE, *found.property_types()]
    elif found == "/objects":
        entries = _objects(machine)
    elif found == "/machine/peripheral":
        entries = _children(list(machine.devices.by_id.values()), anonymous=False)
    elif found == "/machine/peripheral-anon":
        entries = _children(machine.devices.anonymous, anonymous=True)
    elif found == "/machine":
        entries = [
            _TYPE,
            ("peripheral", "child<container>"),
            ("peripheral-anon", "child<container>"),
            ("unattached", "child<container>"),
        ]
    else:
        entries = [
            _TYPE,
            ("backend", "child<container>"),
            ("machine", f"child<{machine.devices.machine_type}-machine>"),
            ("objects", "child<container>"),
            ("chardevs", "child<container>"),
        ]
    return [{"name": name, "type": type_name} for name, type_name in entries]


def qom_get(machine: Machine, path: str, name: str) -> Any:
    """Command qom-get.

    :raises QmpError: there is no such thing, or it has no such property
    """
    found = _find(machine, path)
    if isinstance(found, UserObject):
        return found.get_property(name)[0]
    if isinstance(found, Device):
        value = found.get(name)
        if value is None:
            raise GenericError(f"Property '{found.kind.name}.{name}' not found")
        return value[0]
    if name == "type":
        return "container"
    raise GenericError(f"Property 'container.{name}' not found")


def qom_set(machine: Machine, path: str, name: str, value: Any) -> None:
    """Command qom-set.

    :raises QmpError: there is no such thing, or it refuses the value
    """
    found = _find(machine, path)
    if isinstance(found, UserObject):
        found.set_property(name, value)
        return
    if not isinstance(found, Device):
        raise GenericError(f"Property 'container.{name}' not found")
    value = read_property(found.kind, name, value)
    if name == "drive":
        machine.devices.change_drive(found, value)
        return
    raise GenericError(
        f"Attempt to set property '{name}' on device '{found.id or ''}'"
        f" (type '{found.kind.name}') after it was realized"
    )

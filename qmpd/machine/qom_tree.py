"""The part of the QOM tree that clients of block devices use: objects and devices by path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.ghash import GHashTable
from qmpd.base.newest_first import NewestFirst
from qmpd.errors import DeviceNotFound, GenericError, NotServed
from qmpd.machine.devices.access import get_property, set_property
from qmpd.machine.devices.board import CONTAINERS, PERIPHERAL, PERIPHERAL_ANON, UNATTACHED
from qmpd.machine.devices.device import Bus, Device
from qmpd.machine.devices.kinds import DISPLAYS
from qmpd.machine.objects import UserObject
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

Entry = tuple[str, str]
"""Name and type of a property."""

Thing = UserObject | Device | Bus | str
"""What may be at a path; a container is represented by its path."""

_TYPE: Entry = ("type", "string")

_PART: Final = re.compile("[^/]+")
_LONG_PATH: Final = 4096
"""Characters of a path, from which on it is not cut up as a whole; no thing has as many parts."""


def _children(models: Mapping[str, str]) -> list[Entry]:
    """The properties of a container.

    :param models: the types of its children, in the order of its table
    """
    return [_TYPE, *NewestFirst((name, f"child<{model}>") for name, model in models.items())]


def _container(machine: Machine, path: str) -> list[Entry]:
    """The properties of a container."""
    devices = machine.devices
    if path == "/objects":
        return _children({n: made.qom_type for n, made in machine.objects.objects.items()})
    if path in (PERIPHERAL, PERIPHERAL_ANON, UNATTACHED):
        container = {
            PERIPHERAL: devices.peripheral,
            PERIPHERAL_ANON: devices.peripheral_anon,
            UNATTACHED: devices.unattached,
        }[path]
        models = {name: device.model for name, device in container.items()}
        if path == UNATTACHED:
            for each in devices.processors.numbers:
                models[each.rpartition("/")[2]] = devices.processors.type_name
            models = dict(GHashTable(models))
        return _children(models)
    names = ["peripheral", "peripheral-anon", "unattached"]
    if path == "/":
        names = _top(machine)
        if machine.personality is Personality.STORAGE_DAEMON:
            names.remove("machine")
    board = f"child<{devices.board.model}-machine>"
    return [_TYPE, *((n, board if n == "machine" else "child<container>") for n in names)]


def _top(machine: Machine) -> list[str]:
    """The children of the root."""
    rules, devices = machine.profile.rules, machine.devices
    if rules.holds("containers-come-late"):
        shows = devices.board.vga is not None or any(d.model in DISPLAYS for d in devices)
        objects = ["objects"] if _has_objects(machine) else []
        return [*(["backend"] if shows else []), *objects, "machine", "chardevs"]
    names = ["backend", "machine", "objects", "chardevs"]
    return [*names, "audiodevs"] if rules.holds("audiodevs-have-a-container") else names


def _has_objects(machine: Machine) -> bool:
    """Whether there is a container of objects."""
    late = machine.profile.rules.holds("containers-come-late")
    return not late or machine.objects.looked_at or machine.devices.board.type != "none"


def _device(device: Device) -> list[Entry]:
    entries = {name: known.type for name, known in device.properties.items()}
    scsi = {bus.name: f"child<{bus.kind}>" for bus in device.buses if bus.kind == "SCSI"}
    last = {name: entries.pop(name) for name in device.kind.late_properties} | scsi
    return [*entries.items(), *NewestFirst(GHashTable(last).items())]


def _things(machine: Machine) -> dict[str, Thing]:
    """Everything in the tree, by path."""
    things: dict[str, Thing] = {path: path for path in CONTAINERS}
    if not _has_objects(machine):
        del things["/objects"]
    if machine.personality is Personality.STORAGE_DAEMON:
        things = {path: thing for path, thing in things.items() if not path.startswith("/machine")}
    for name, made in machine.objects.objects.items():
        things[f"/objects/{name}"] = made
    for device in machine.devices.parts():
        things[device.path] = device
        things |= {bus.path: bus for bus in device.buses}
    return things


def _parts(path: str) -> list[str]:
    """The words of a path; of a longer one than any thing has, some of them."""
    words = path.strip("/")
    if len(words) <= _LONG_PATH:
        return [part for part in words.split("/") if part]
    return [found[0] for found in islice(_PART.finditer(words), _LONG_PATH)]


def _find(machine: Machine, path: str, *, listing: bool = False) -> Thing:
    """Resolve a path, absolute or partial (``object_resolve_path``).

    :param listing: whether an ambiguous path has an error of its own
    :raises QmpError: there is nothing at the path, or it is ambiguous
    """
    things = _things(machine)
    parts = _parts(path)
    whole = "/" + "/".join(parts)
    if path.startswith("/"):
        if whole in things:
            return things[whole]
        raise DeviceNotFound(f"Device '{path}' not found")
    found = [thing for known, thing in things.items() if not parts or known.endswith(whole)]
    if len(found) > 1 and listing:
        raise GenericError(f"Path '{path}' is ambiguous")
    if len(found) != 1:
        raise DeviceNotFound(f"Device '{path}' not found")
    return found[0]


def _not_served(bus: Bus) -> NotServed:
    return NotServed(f"Properties of buses, such as '{bus.path}', are not served by qmpd")


def _is_processor(machine: Machine, path: str) -> bool:
    """Whether a processor is at a whole path; they are many times what else is in the tree."""
    return path.startswith(UNATTACHED) and path in machine.devices.processors.numbers


def qom_list(machine: Machine, path: str) -> list[dict[str, Any]]:
    """Command qom-list: the properties of what is at `path`.

    :raises QmpError: there is nothing
    """
    if _is_processor(machine, path):
        listed = machine.devices.processors.at(path).entries
        return [{"name": name, "type": type_name} for name, type_name in listed]
    found = _find(machine, path, listing=True)
    if isinstance(found, Device):
        entries = _device(found)
    elif isinstance(found, UserObject):
        entries = [_TYPE, *NewestFirst(found.property_types().items())]
    elif isinstance(found, Bus):
        raise _not_served(found)
    else:
        entries = _container(machine, found)
    return [{"name": name, "type": type_name} for name, type_name in entries]


def qom_get(machine: Machine, path: str, name: str) -> Any:
    """Command qom-get.

    :raises QmpError: there is no such thing, or it has no such property
    """
    if _is_processor(machine, path):
        return machine.devices.processors.get(path, name)
    found = _find(machine, path)
    if isinstance(found, UserObject):
        return found.get_property(name)[0]
    if isinstance(found, Device):
        return get_property(found, name, machine.profile.rules)
    if isinstance(found, Bus):
        if name == "type":
            return found.kind
        raise _not_served(found)
    model = _model(machine, found)
    if name == "type":
        return model
    if dict(_container(machine, found)).get(name, "").startswith("child<"):
        return f"{found.rstrip('/')}/{name}"
    raise GenericError(f"Property '{model}.{name}' not found")


def _model(machine: Machine, container: str) -> str:
    return f"{machine.devices.board.model}-machine" if container == "/machine" else "container"


async def qom_set(machine: Machine, path: str, name: str, value: Any) -> None:
    """Command qom-set.

    :raises QmpError: there is no such thing, or it refuses the value
    """
    if _is_processor(machine, path):
        machine.devices.processors.set(path, name)
    found = _find(machine, path)
    if isinstance(found, UserObject):
        found.set_property(name, value)
    elif isinstance(found, Device):
        await set_property(found, name, value, machine.devices)
    elif isinstance(found, Bus):
        raise _not_served(found)
    elif name in dict(_container(machine, found)):
        raise GenericError(f"Property '{_model(machine, found)}.{name}' is not writable")
    else:
        raise GenericError(f"Property '{_model(machine, found)}.{name}' not found")

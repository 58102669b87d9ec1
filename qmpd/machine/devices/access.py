"""Properties of devices, as device_add, qom-get and qom-set access them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import DeviceNotFound, GenericError, NotServed
from qmpd.machine.devices import balloon, drives
from qmpd.machine.devices.properties import Form, read_property, read_text

if TYPE_CHECKING:
    from qmpd.machine.devices.chassis import Devices
    from qmpd.machine.devices.device import Device
    from qmpd.machine.objects import UserObject
    from qmpd.profile.rules import Rules

COMMON: Final = ("type", "parent_bus", "realized", "hotplugged", "hotpluggable")
"""Properties of every device."""


def _owner(device: Device, name: str) -> Device:
    """The part of `device` that has property `name`: a PCI proxy passes it to the device behind."""
    behind = device.behind
    if behind is not None and name not in COMMON and name in behind.properties:
        return behind
    return device


def _owner_of(device: Device, name: str) -> str:
    """The type that is told to have a property which cannot be accessed."""
    return "base-xhci" if name == "legacy-host" else device.model


async def set_property(
    device: Device, name: str, value: Any, tree: Devices, form: Form = Form.JSON
) -> None:
    """Set a property.

    :param form: how `value` is given
    :param tree: all devices, and the machine that they are in
    :raises QmpError: there is no such property, or it refuses the value
    """
    device = _owner(device, name)
    model = device.model
    known = device.properties.get(name)
    if known is None:
        raise GenericError(f"Property '{model}.{name}' not found")
    if name == "realized":
        read_property(device, name, known.type, value, form, tree.chassis.profile.rules)
        raise NotServed(f"Setting property '{model}.realized' is not served by qmpd")
    if (
        name in COMMON
        or name == "attached"
        or known.type == "busnr"
        or name.startswith("legacy-")
        or _is_child(known.type)
    ):
        raise GenericError(f"Property '{_owner_of(device, name)}.{name}' is not writable")
    if model == balloon.MODEL and name in balloon.PROPERTIES:
        balloon.set_(device, name, value)
    elif name == "drive" and not (device.realized and _drive_stays(tree)):
        await drives.set_drive(device, read_text(name, value), tree.chassis.graph)
    elif name == "bootindex":
        index = read_property(device, name, known.type, value, form, tree.chassis.profile.rules)
        _set_boot_index(device, index, tree)
    elif device.realized:
        who = "anonymous device" if device.id is None else f"device '{device.id}'"
        raise GenericError(
            f"Attempt to set property '{name}' on {who} (type '{model}') after it was realized"
        )
    elif name in ("chardev", "netdev"):
        device.values[name] = _backend(device, name, read_text(name, value), tree)
    elif known.type.startswith("link<"):
        target = _link(name, known.type[5:-1], read_text(name, value), tree)
        device.values[name] = "" if target is None else f"/objects/{target.id}"
        if target is not None:
            device.linked[name] = target
    else:
        rules = tree.chassis.profile.rules
        device.values[name] = read_property(device, name, known.type, value, form, rules)


def _drive_stays(tree: Devices) -> bool:
    return tree.chassis.profile.rules.holds("drives-of-devices-stay")


def _backend(device: Device, name: str, value: str, tree: Devices) -> str:
    """The id of a character device or a network backend.

    :raises GenericError: there is none of this id, or another device has it
    """
    known = tree.netdevs if name == "netdev" else tree.chassis.chardevs()
    if value not in known:
        raise GenericError(f"Property '{device.model}.{name}' can't find value '{value}'")
    if any(other.values.get(name) == value for other in tree.parts()):
        used = f": chardev '{value}' is already in use" if name == "chardev" else ", it's in use"
        raise GenericError(f"Property '{device.model}.{name}' can't take value '{value}'{used}")
    return value


def _is_child(type_name: str) -> bool:
    return type_name.startswith("child<")


def _set_boot_index(device: Device, index: int, tree: Devices) -> None:
    others = (other.values.get("bootindex", -1) for other in tree.parts())
    if index >= 0 and device.values.get("bootindex", -1) != index and index in others:
        raise GenericError(f"The bootindex {index} has already been used")
    device.values["bootindex"] = index


def _link(name: str, type_name: str, value: str, tree: Devices) -> UserObject | None:
    """The object that a link points to.

    :raises QmpError: there is no such object, or it is of another type
    """
    if not value:
        return None
    right = tree.chassis.objects.resolve(value, type_name)
    if len(right) > 1:
        raise GenericError(f"Path '{value}' does not uniquely identify an object")
    if right:
        return right[0]
    found = tree.chassis.objects.objects.get(value.removeprefix("/objects/"))
    if found is None and not any(value in (d.id, d.path) for d in tree):
        raise DeviceNotFound(f"Device '{value}' not found")
    raise GenericError(f"Invalid parameter type for '{name}', expected: {type_name}")


def get_property(device: Device, name: str, rules: Rules) -> Any:
    """The value of a property.

    :param rules: of the version of QEMU
    :raises GenericError: there is no such property, or it cannot be read
    :raises NotServed: qmpd does not keep it
    """
    device = _owner(device, name)
    known = device.properties.get(name)
    if known is None:
        raise GenericError(f"Property '{device.model}.{name}' not found")
    if name == "legacy-addr":
        slot, function = divmod(device.devfn, 8)
        return f"{slot:02x}.{function:x}"
    if name.startswith("legacy-") and known.type == "str":
        raise GenericError(f"Property '{_owner_of(device, name)}.{name}' is not readable")
    if device.model == balloon.MODEL and name in balloon.PROPERTIES:
        return balloon.get(device, name, rules)
    if name == "drive":
        return drives.drive_name(device)
    if name in COMMON:
        return _common(device, name)
    if _is_child(known.type):
        return f"{device.path}/{name}"
    if name in device.linked and device.linked[name].gone:
        return ""
    value = device.get(name)
    return list(value) if isinstance(value, tuple) else value


def _common(device: Device, name: str) -> Any:
    bus = device.bus
    values: dict[str, Any] = {
        "type": device.model,
        "parent_bus": "" if bus is None else bus.path,
        "realized": device.realized,
        "hotplugged": device.hotplugged,
        "hotpluggable": device.kind.hotpluggable
        and device.kind.bus != "virtio-bus"
        and (bus is None or bus.hotplug),
    }
    return values[name]

"""Commands of schema modules qom and qdev: objects and devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.machine.qom_tree import qom_get, qom_list, qom_set
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.qdev import DeviceDelArguments
    from qmpd.profile.models.qom import (
        ObjectDelArguments,
        QomGetArguments,
        QomListArguments,
        QomSetArguments,
    )


def object_add(context: Context, _: object) -> None:
    """Make a user-creatable object."""
    properties = dict(context.raw)
    qom_type, object_id = properties.pop("qom-type"), properties.pop("id")
    context.machine.objects.add(qom_type, object_id, properties)


def object_del(context: Context, arguments: ObjectDelArguments) -> None:
    """Take a user-creatable object away."""
    context.machine.objects.remove(arguments.id)


async def device_add(context: Context, arguments: Mapping[str, Any]) -> None:
    """Plug a device in."""
    await context.machine.devices.add(arguments)


async def device_del(context: Context, arguments: DeviceDelArguments) -> None:
    """Unplug a device."""
    await context.machine.devices.remove(arguments.id)


def list_properties(context: Context, arguments: QomListArguments) -> list[dict[str, Any]]:
    """What is at a path of the QOM tree."""
    return qom_list(context.machine, arguments.path)


def get_property(context: Context, arguments: QomGetArguments) -> Any:
    """A property of an object or a device."""
    return qom_get(context.machine, arguments.path, arguments.property)


async def set_property(context: Context, arguments: QomSetArguments) -> None:
    """Set a property of an object or a device."""
    await qom_set(context.machine, arguments.path, arguments.property, arguments.value)


HANDLERS: Final[Handlers] = {
    "object-add": object_add,
    "object-del": object_del,
    "device_add": device_add,
    "device_del": device_del,
    "qom-list": list_properties,
    "qom-get": get_property,
    "qom-set": set_property,
}

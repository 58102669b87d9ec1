"""Commands of schema modules qom and qdev: objects and devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.identifiers import check_id
from qmpd.errors import GenericError, QmpError
from qmpd.machine.devices.help import properties_of
from qmpd.machine.object_words import check_old_object, in_old_words
from qmpd.machine.qom_tree import qom_get, qom_list, qom_set
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.profile.models.qdev import DeviceDelArguments, DeviceListPropertiesArguments
    from qmpd.profile.models.qom import (
        ObjectDelArguments,
        QomGetArguments,
        QomListArguments,
        QomListGetArguments,
        QomListPropertiesArguments,
        QomListTypesArguments,
        QomSetArguments,
    )
    from qmpd.profile.recorded.qom import QomTypes


def object_add(context: Context, arguments: object) -> None:
    """Make a user-creatable object."""
    properties = dict(context.raw)
    is_free = isinstance(arguments, dict)
    if is_free:
        properties = _checked_properties(context, properties)
    qom_type, object_id = properties.pop("qom-type"), properties.pop("id")
    context.machine.objects.add(qom_type, object_id, properties, any_id=is_free)


def _checked_properties(context: Context, properties: dict[str, Any]) -> dict[str, Any]:
    """The arguments where the schema does not check them, before QEMU 6.0 (`qmp_object_add`)."""
    profile = context.machine.profile
    qom_type = check_old_object(profile, context.machine.personality, properties)
    props = properties.pop("props", None)
    if props is not None:
        if not isinstance(props, dict):
            raise GenericError("Invalid parameter type for 'props', expected: dict")
        properties |= props
    try:
        return dict(profile.reader.read_plain("ObjectOptions", properties, keyval=False))
    except GenericError as error:
        raise in_old_words(error, qom_type, flat=False) from None


def object_del(context: Context, arguments: ObjectDelArguments) -> None:
    """Take a user-creatable object away."""
    context.machine.objects.remove(arguments.id)


async def device_add(context: Context, arguments: Mapping[str, Any]) -> None:
    """Plug a device in."""
    machine = context.machine
    rules = machine.profile.rules
    if rules.holds("device-options-are-texts"):
        exact = not rules.holds("numbers-without-exponents")
        await machine.devices.add(_as_texts(arguments, exact=exact), keyval=True)
    else:
        await machine.devices.add(arguments)


def _as_texts(arguments: Mapping[str, Any], *, exact: bool) -> dict[str, str]:
    """Values as they are written in options, without what has no such form.

    :param exact: whether numbers are written with 17 digits, and not with six decimals
    :raises GenericError: the id is malformed
    """
    device_id = arguments.get("id")
    if isinstance(device_id, str):
        check_id(device_id)
    texts: dict[str, str] = {}
    for name, value in arguments.items():
        if isinstance(value, bool):
            texts[name] = "on" if value else "off"
        elif isinstance(value, float):
            texts[name] = f"{value:.17g}" if exact else f"{value:f}".rstrip("0").rstrip(".")
        elif isinstance(value, str) or (isinstance(value, int) and name != "id"):
            texts[name] = str(value)
    return texts


async def device_del(context: Context, arguments: DeviceDelArguments) -> None:
    """Unplug a device."""
    await context.machine.devices.remove(arguments.id)


def list_properties(context: Context, arguments: QomListArguments) -> list[dict[str, Any]]:
    """What is at a path of the QOM tree."""
    return qom_list(context.machine, arguments.path)


def list_values(context: Context, arguments: QomListGetArguments) -> list[dict[str, Any]]:
    """All properties of objects, with their values where those can be read (`qmp_qom_list_get`)."""
    machine = context.machine
    return [
        {"properties": [_with_value(machine, path, known) for known in qom_list(machine, path)]}
        for path in arguments.paths
    ]


def _with_value(machine: Machine, path: str, known: dict[str, Any]) -> dict[str, Any]:
    try:
        value = qom_get(machine, path, known["name"])
    except QmpError:
        return {"name": known["name"], "type": known["type"]}
    return {"name": known["name"], "value": value, "type": known["type"]}


def get_property(context: Context, arguments: QomGetArguments) -> Any:
    """A property of an object or a device."""
    return qom_get(context.machine, arguments.path, arguments.property)


async def set_property(context: Context, arguments: QomSetArguments) -> None:
    """Set a property of an object or a device."""
    await qom_set(context.machine, arguments.path, arguments.property, arguments.value)


def list_types(context: Context, arguments: QomListTypesArguments) -> list[dict[str, Any]]:
    """The QOM types of the real program, as recorded."""
    types = context.machine.profile.recorded(context.machine.personality).types
    return types.listing(arguments.implements, abstract=bool(arguments.abstract))


def type_properties(
    context: Context, arguments: QomListPropertiesArguments
) -> list[dict[str, Any]]:
    """The properties of a QOM type, as recorded."""
    types = _types(context)
    return types.properties(arguments.typename)


def device_properties(
    context: Context, arguments: DeviceListPropertiesArguments
) -> list[dict[str, Any]]:
    """The properties of a device model, as recorded."""
    machine = context.machine
    return properties_of(machine.profile, machine.personality, arguments.typename)


def _types(context: Context) -> QomTypes:
    return context.machine.profile.recorded(context.machine.personality).types


HANDLERS: Final[Handlers] = {
    "object-add": object_add,
    "object-del": object_del,
    "device_add": device_add,
    "device_del": device_del,
    "qom-list": list_properties,
    "qom-list-get": list_values,
    "qom-get": get_property,
    "qom-set": set_property,
    "qom-list-types": list_types,
    "qom-list-properties": type_properties,
    "device-list-properties": device_properties,
}

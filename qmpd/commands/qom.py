"""Commands of schema modules qom and qdev: objects and devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.commands.registry import CommandTable, Context
from qmpd.errors import DeviceNotFound, GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.models.qdev import DeviceDelArguments
    from qmpd.models.qom import ObjectDelArguments

QOM = CommandTable()


@QOM.command("object-add")
def object_add(context: Context, _: object) -> None:
    """Make a user-creatable object."""
    properties = dict(context.raw)
    qom_type, object_id = properties.pop("qom-type"), properties.pop("id")
    context.machine.objects.add(qom_type, object_id, properties)


@QOM.command("object-del")
def object_del(context: Context, arguments: ObjectDelArguments) -> None:
    """Take a user-creatable object away."""
    context.machine.objects.remove(arguments.id)


@QOM.command("device_add")
def device_add(context: Context, arguments: Mapping[str, Any]) -> None:
    """Plug a device in. The models are not served yet; their names are known."""
    from qmpd.devices import is_device_model

    driver = arguments.get("driver")
    if not isinstance(driver, str):
        raise GenericError("Parameter 'driver' is missing")
    if not is_device_model(driver):
        raise GenericError(f"'{driver}' is not a valid device model name")
    raise NotServed(f"Device model '{driver}' is not served by qmpd yet")


@QOM.command("device_del")
def device_del(context: Context, arguments: DeviceDelArguments) -> None:
    """Unplug a device."""
    raise DeviceNotFound(f"Device '{arguments.id}' not found")

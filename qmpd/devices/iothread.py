"""Links to iothread objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.devices.values import read_string
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.objects import IOThread

if TYPE_CHECKING:
    from qmpd.machine import Machine


def find_iothread(machine: Machine, name: str, value: Any) -> str:
    """The path of the iothread that property `name` is to lead to; "" for none.

    :param value: its id, or its path
    :raises QmpError: there is no such iothread
    """
    wanted = read_string(name, value)
    if not wanted:
        return ""
    found = machine.objects.objects.get(wanted.removeprefix("/objects/"))
    if found is None:
        raise DeviceNotFound(f"Device '{wanted}' not found")
    if not isinstance(found, IOThread):
        raise GenericError(f"Invalid parameter type for '{name}', expected: iothread")
    return f"/objects/{found.id}"

"""What a new device is, and which bus it goes on, before it is made (``qdev_device_add``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError, NotServed
from qmpd.machine.devices.bus import bus_at, find_bus
from qmpd.machine.devices.help import why_no_model
from qmpd.machine.devices.kinds import ALIASES, KINDS

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Bus
    from qmpd.machine.devices.kinds import Kind
    from qmpd.profile import Profile
    from qmpd.profile.rules import Rules


def model_and_bus(
    profile: Profile, root: Bus, name: str | None, path: str | None, *, hotplug: bool
) -> tuple[Kind, Bus]:
    """Find the model called `name`, and a bus for a device of it.

    :param root: the main system bus
    :param path: of the bus, where one is asked for
    :param hotplug: whether the machine has been built
    :raises QmpError: QEMU's texts
    """
    if name is None:
        raise GenericError("Parameter 'driver' is missing")
    kind = KINDS.get(ALIASES.get(name, name))
    if kind is not None:
        fixed = hotplug and not kind.hotpluggable
        if fixed and profile.rules.holds("models-are-checked-before-buses"):
            raise GenericError("Parameter 'driver' expects a pluggable device type")
        bus = _bus(profile.rules, root, kind.name, kind.bus, path, hotplug=hotplug)
        if fixed:
            raise GenericError(f"Device '{kind.name}' does not support hotplugging")
        return kind, bus
    model = profile.devices.model(name)
    if model is None:
        raise GenericError(why_no_model(profile, name))
    if model.bus is not None:
        _bus(profile.rules, root, model.name, model.bus, path, hotplug=hotplug)
    raise NotServed(f"Device model '{name}' is not served by qmpd")


def _bus(rules: Rules, root: Bus, model: str, kind: str, path: str | None, *, hotplug: bool) -> Bus:
    if path is not None:
        bus = bus_at(root, path)
        if not bus.takes(kind):
            raise GenericError(f"Device '{model}' can't go on {bus.kind} bus")
    else:
        found = find_bus(root, None, kind)
        if found is not None and found.full and rules.holds("full-buses-are-told"):
            raise GenericError(f"A '{kind}' bus was found but is full")
        if found is None or found.full:
            raise GenericError(f"No '{kind}' bus found for device '{model}'")
        bus = found
    if hotplug and not bus.hotplug:
        raise GenericError(f"Bus '{bus.name}' does not support hotplugging")
    return bus

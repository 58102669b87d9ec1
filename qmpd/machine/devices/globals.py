"""Values that properties of devices have unless told otherwise (``-global``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qmpd.errors import GenericError, NotServed
from qmpd.machine.devices.access import set_property
from qmpd.machine.devices.properties import Form, read_property
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from qmpd.machine.devices.chassis import Devices
    from qmpd.machine.devices.device import Device
    from qmpd.profile import Profile


class Global(NamedTuple):
    """One value.

    :param driver: the model of the devices, or a QOM type that it is derived from
    :param name: the property
    :param value: as the command line has it
    """

    driver: str
    name: str
    value: str


class CompatProperties:
    """What a machine type makes of its devices, so that they are as in an older QEMU.

    :param machine: its full name
    """

    def __init__(self, machine: str, profile: Profile) -> None:
        recorded = profile.recorded(Personality.SYSTEM)
        self._types = recorded.types
        self._rules = profile.rules
        self._changes = recorded.compat(machine)

    def apply(self, device: Device) -> None:
        """Set the properties of a new device (``object_apply_compat_props``)."""
        if not self._changes:
            return
        for part in device.parts:
            lineage = set(self._types.lineage(part.model))
            for driver, name, text in self._changes:
                known = part.properties.get(name)
                if driver in lineage and known is not None:
                    part.values[name] = read_property(
                        part, name, known.type, text, Form.TEXT, self._rules
                    )


class Globals:
    """All of a command line, in its order.

    :param values: the last one counts where there are several for a property
    :param profile: knows the QOM types
    """

    def __init__(self, values: list[Global], profile: Profile) -> None:
        self._values = values
        self._types = profile.recorded(Personality.SYSTEM).types

    async def apply(self, device: Device, own: Mapping[str, Any], tree: Devices) -> None:
        """Set the properties of a new device (``qdev_prop_set_globals``).

        :param own: what the device is told itself
        :raises GenericError: one of the values does not fit
        """
        for part in list(device.parts):
            lineage = set(self._types.lineage(part.model))
            for each in self._values:
                if each.driver not in lineage:
                    continue
                if each.name == "drive" and "drive" in own:
                    raise GenericError(
                        f"-global {each.driver}.drive=... conflicts with drive={own['drive']}"
                    )
                try:
                    await set_property(part, each.name, each.value, tree, Form.TEXT)
                except NotServed:
                    raise
                except GenericError as error:
                    what = f"{each.driver}.{each.name}={each.value}"
                    text = f"can't apply global {what}: {error.desc}"
                    raise GenericError(text, error.hint) from None

    def of_no_device(self) -> list[Global]:
        """Those that are of no kind of devices (``qdev_prop_check_globals``)."""
        return [each for each in self._values if "device" not in self._types.lineage(each.driver)]

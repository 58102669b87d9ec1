"""Devices: what is plugged into a bus, with its properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from qmpd.devices.qom import QomObject
from qmpd.devices.types import qom_types
from qmpd.devices.values import read_value
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.devices.block_device import BlockDevice
    from qmpd.devices.bus import Bus
    from qmpd.devices.qom import Listing
    from qmpd.machine import Machine

_READ_ONLY: Final = frozenset(("type", "parent_bus", "hotplugged", "hotpluggable"))

UNSET: Final = 2**32 - 1
"""What a 32-bit property says that nobody has set: minus one."""


class Device(QomObject):
    """One device.

    :param machine: whose device it is
    :param qom_type: its model
    :param listing: see `QomObject`
    :param values: what its properties say of a device that was given nothing
    """

    unplugs_at_once: ClassVar[bool] = False
    """Whether it can be unplugged without the guest's consent."""

    def __init__(
        self,
        machine: Machine,
        qom_type: str,
        listing: Listing = (),
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(qom_type, listing, values)
        self.machine = machine
        self.id: str | None = None
        self.bus: Bus | None = None
        self.slot_name = ""
        """Its link on the bus."""
        self.child_buses: list[Bus] = []
        """The buses that it brings, the newest first."""
        self.realized = False
        self.hotplugged = False
        self.unplugging = False
        """Whether the guest has been asked to let it go."""
        self.given: dict[str, Any] = {}
        """The properties that were set, as they were read."""

    @property
    def block_device(self) -> BlockDevice | None:
        """The part of it that has a block backend."""
        return None

    def add_bus(self, bus: Bus) -> None:
        """It brings `bus`."""
        bus.owner = self
        self.child_buses.insert(0, bus)

    # Properties

    def property_type(self, name: str) -> str | None:
        """The type of a property; None where there is none of this name."""
        return next((kind for known, kind in self.properties() if known == name), None)

    def get_property(self, name: str) -> Any:
        """See `QomObject.get_property`."""
        if name == "parent_bus":
            return "" if self.bus is None else self.bus.path
        if name == "realized":
            return self.realized
        if name == "hotplugged":
            return self.hotplugged
        if name == "hotpluggable":
            return qom_types().is_a(self.qom_type, "pci-device") or self.unplugs_at_once
        if name in self.given:
            return self.given[name]
        return super().get_property(name)

    def set_property(self, name: str, value: Any) -> None:
        """See `QomObject.set_property`."""
        self.assign(name, value, keyval=False)

    def assign(self, name: str, value: Any, *, keyval: bool) -> None:
        """Set a property.

        :param value: JSON, or text where `keyval`
        :raises QmpError: QEMU's texts
        """
        kind = self.property_type(name)
        if kind is None:
            raise GenericError(f"Property '{self.qom_type}.{name}' not found")
        if name in _READ_ONLY or kind.startswith("child<"):
            raise GenericError(f"Property '{self.qom_type}.{name}' is not writable")
        if name == "realized":
            raise NotServed("qmpd does not build or take apart devices by a property")
        if name == "bootindex":
            self._set_bootindex(read_value(self.qom_type, name, kind, value, keyval=keyval))
            return
        if self.realized:
            who = f"device '{self.id}'" if self.id is not None else "anonymous device"
            raise GenericError(
                f"Attempt to set property '{name}' on {who} (type '{self.qom_type}')"
                " after it was realized"
            )
        self.given[name] = self.parse(name, kind, value, keyval=keyval)

    def parse(self, name: str, kind: str, value: Any, *, keyval: bool) -> Any:
        """A value as property `name` takes it.

        :raises QmpError: it does not fit
        """
        if kind == "link<iothread>":
            from qmpd.devices.iothread import find_iothread

            return find_iothread(self.machine, name, value)
        return read_value(self.qom_type, name, kind, value, keyval=keyval)

    def _set_bootindex(self, index: int) -> None:
        if index >= 0 and index in self.machine.devices.boot_indices(except_for=self):
            raise GenericError(f"The bootindex {index} has already been used")
        self.given["bootindex"] = index

    # Life

    def realize(self) -> None:
        """Build it, once its properties are set and its bus is known.

        :raises QmpError: QEMU's texts
        """

    def plugged(self) -> None:
        """It is on its bus, or stands without one: from now on it is there."""
        self.realized = True

    async def unrealize(self) -> None:
        """Give back what it holds; the devices on its buses have gone before."""

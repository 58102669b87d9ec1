"""PCI: slots and functions, bridges, adapters that bring other buses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from qmpd.devices.device import Device
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.devices.bus import Bus

FUNCTIONS: Final = 8
SLOTS: Final = 32

BRIDGES: Final = frozenset(
    ("pci-bridge", "pcie-root-port", "pcie-pci-bridge", "i82801b11-bridge")
)
"""Models whose secondary bus takes the guest's hotplug."""

_ADDRESS: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)(?:\.(?:0[xX])?([0-9a-fA-F]+))?\Z")


class PciDevice(Device):
    """A PCI function."""

    @property
    def devfn(self) -> int:
        """Slot and function: eight functions to a slot."""
        number = self.get_property("addr")
        assert isinstance(number, int)
        return number

    def parse(self, name: str, kind: str, value: Any, *, keyval: bool) -> Any:
        """See `Device.parse`: an address is text, or a number."""
        if name == "addr":
            return self._parse_address(value)
        return super().parse(name, kind, value, keyval=keyval)

    def _parse_address(self, value: Any) -> int:
        if isinstance(value, float):
            raise GenericError("Invalid parameter type for 'addr', expected: integer")
        if isinstance(value, int) and not isinstance(value, bool):
            if not -1 <= value < SLOTS * FUNCTIONS:
                raise GenericError("Parameter 'addr' expects a value between -1 and 255")
            return value
        if not isinstance(value, str):
            raise GenericError("Invalid parameter type for 'addr', expected int or str")
        match = _ADDRESS.match(value)
        if match is not None:
            slot, function = int(match[1], 16), int(match[2] or "0", 16)
            if slot < SLOTS and function < FUNCTIONS:
                return slot * FUNCTIONS + function
        raise GenericError(f"Property '{self.qom_type}.addr' doesn't take value '{value}'")

    def realize(self) -> None:
        """See `Device.realize`: a place on the bus.

        :raises GenericError: there is none, or it is taken
        """
        bus = self.bus
        assert bus is not None
        taken = {
            device.devfn: device
            for device in bus.devices
            if isinstance(device, PciDevice) and device is not self
        }
        devfn = self.given.get("addr", -1)
        if devfn == -1:
            devfn = self._free_slot(bus, taken)
        elif devfn in taken:
            other = taken[devfn]
            raise GenericError(
                f"PCI: slot {devfn // FUNCTIONS} function {devfn % FUNCTIONS} not available for"
                f" {self.qom_type}, in use by {other.qom_type},id={other.id or ''}"
            )
        first = taken.get(devfn // FUNCTIONS * FUNCTIONS)
        if first is not None and devfn % FUNCTIONS:
            self._check_function(first, devfn)
        self.given["addr"] = devfn
        self.given["legacy-addr"] = f"{devfn // FUNCTIONS:02x}.{devfn % FUNCTIONS:x}"

    def _free_slot(self, bus: Bus, taken: dict[int, PciDevice]) -> int:
        only_first = bus.owner is not None and bus.owner.qom_type == "pcie-root-port"
        first = 1 if bus.owner is not None and bus.owner.qom_type == "pci-bridge" else 0
        for slot in range(first, 1 if only_first else SLOTS):
            if slot * FUNCTIONS not in taken:
                return slot * FUNCTIONS
        raise GenericError(
            f"PCI: no slot/function available for {self.qom_type}, all in use or reserved"
        )

    def _check_function(self, first: PciDevice, devfn: int) -> None:
        slot, function = divmod(devfn, FUNCTIONS)
        if self.hotplugged:
            raise GenericError(
                f"PCI: slot {slot} function 0 already occupied by {first.qom_type}, new func"
                f" {self.qom_type} cannot be exposed to guest."
            )
        if not first.get_property("multifunction"):
            raise GenericError(
                f"PCI: single function device can't be populated in function {slot:x}.{function:x}"
            )

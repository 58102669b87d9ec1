"""What devices are made of: the properties that ``info qtree`` shows, PCI functions, pins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from qmpd.errors import NotServed


class Part(NamedTuple):
    """A device, as it is right after it was made.

    :param properties: those that ``info qtree`` shows, in its order, and their texts there
    :param pins: lines about its inputs and outputs
    :param memory: lines about its place in memory, where it is on the system's bus
    :param function: of a PCI device, the members of query-pci that do not depend on its place
    :param variants: values of properties, and what its function is with them
    :param irqs: of an ISA device, a line about its interrupts
    :param usb: of a USB device, `name`, and `speeds` by the models of controllers
    """

    model: str
    properties: tuple[tuple[str, str], ...] = ()
    pins: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    function: Mapping[str, Any] | None = None
    variants: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    usb: Mapping[str, Any] | None = None
    irqs: tuple[str, ...] = ()

    def function_with(self, value: Callable[[str], Any]) -> Mapping[str, Any] | None:
        """Its PCI function with these values of its properties."""
        fitting = [
            (len(wanted), function)
            for wanted, function in self.variants
            if all(value(name) == wanted[name] for name in wanted)
        ]
        return max(fitting, key=lambda pair: pair[0])[1] if fitting else self.function


class BoardBus(NamedTuple):
    """A bus of a board: its devices, the newest first, each with the buses that it brings."""

    name: str
    type: str
    devices: tuple[tuple[Part, tuple[BoardBus, ...]], ...]


class Hardware:
    """The devices and boards of one program.

    ``hardware.json.gz`` has `models`, `boards` (by machine type), and `parts`, to which these
    refer by numbers.

    :param read: reads a table, by its name
    """

    def __init__(self, read: Callable[[str], dict[str, Any]]) -> None:
        self._read = read

    @cached_property
    def _table(self) -> dict[str, Any]:
        return self._read("hardware")

    def model(self, name: str) -> Part:
        """A device of this model that was plugged in.

        :raises NotServed: nobody has looked at one
        """
        found = self._table.get("models", {}).get(name)
        if found is None:
            raise NotServed(f"What a device '{name}' is made of is not known to qmpd")
        return _part(name, found)

    def board(self, machine: str) -> BoardBus:
        """The main system bus of a machine type, with all that its board may have.

        :raises NotServed: nobody has looked at it
        """
        found = self._table.get("boards", {}).get(machine)
        if found is None:
            raise NotServed(f"What a machine '{machine}' is made of is not known to qmpd")
        return self._bus(found)

    def _bus(self, found: dict[str, Any]) -> BoardBus:
        parts = self._table["parts"]
        return BoardBus(
            found["name"],
            found["type"],
            tuple(
                (
                    _part(parts[device["part"]]["model"], parts[device["part"]]),
                    tuple(map(self._bus, device.get("buses", ()))),
                )
                for device in found["devices"]
            ),
        )


def _part(model: str, found: dict[str, Any]) -> Part:
    return Part(
        model,
        tuple((name, text) for name, text in found["properties"]),
        tuple(found.get("gpios", ())),
        tuple(found.get("mmio", ())),
        found.get("pci"),
        tuple((wanted, function) for wanted, function in found.get("variants", ())),
        found.get("usb"),
        tuple(found.get("isa", ())),
    )

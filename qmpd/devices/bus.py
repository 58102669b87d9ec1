"""Buses: what devices are plugged into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qmpd.devices.device import Device


@dataclass(eq=False)
class Bus:
    """One bus.

    :param name: its name, as `bus=` has it
    :param kind: the type of devices it takes
    :param hotplug: whether devices come and go while the machine runs
    :param capacity: how many devices it takes; None for any number
    :param owner: the device that brings it
    """

    name: str
    kind: str
    hotplug: bool
    capacity: int | None = None
    owner: Device | None = None
    devices: list[Device] = field(default_factory=list)

    @property
    def shown_kind(self) -> str:
        """What messages call its type."""
        return self.kind

    @property
    def full(self) -> bool:
        """Whether it takes no further device."""
        return self.capacity is not None and len(self.devices) >= self.capacity


_IDE: Final = 2

MACHINES: Final = {
    "none": (),
    "pc": (
        ("pci.0", "PCI", True, None),
        ("ide.0", "IDE", False, _IDE),
        ("ide.1", "IDE", False, _IDE),
        ("floppy-bus.0", "floppy-bus", False, 2),
    ),
    "q35": (
        ("pcie.0", "PCIE", False, None),
        *((f"ide.{number}", "IDE", False, 1) for number in range(6)),
    ),
}
"""The buses of a new machine: name, type, whether devices may be hotplugged, capacity."""


def machine_buses(machine: str) -> list[Bus]:
    """The buses that a machine of this type has from the start."""
    return [Bus(*entry) for entry in MACHINES.get(machine, ())]

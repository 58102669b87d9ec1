"""Devices and buses as data: what stands between a guest and a block backend.

The code that works on them is elsewhere: `bus` finds buses, `access` reads and sets properties,
`realize` builds devices, `drives` gives them backends, `guest_io` does requests, and `tree` holds
them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.newest_first import NewestFirst
from qmpd.machine.devices.kinds import KINDS, Kind
from qmpd.machine.devices.properties import DEFAULTS

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.aio_context import AioContext
    from qmpd.loop.task import Waiter
    from qmpd.machine.objects import UserObject
    from qmpd.profile.devices import DeviceTables, Property

_SUBTYPES: Final = {"PCIE": "PCI", "virtio-pci-bus": "virtio-bus"}
"""Types of buses that take the devices of another type too."""


@dataclass(frozen=True, slots=True)
class ScsiLimits:
    """The largest addresses on a SCSI bus."""

    channel: int
    target: int
    lun: int


@dataclass(eq=False)
class Bus:
    """One bus.

    :param name: its name, as `bus=` has it
    :param kind: its type
    :param path: its place in the QOM tree
    :param hotplug: whether devices come and go while the machine runs
    :param capacity: how many devices it takes; None for any number
    :param is_port: whether it is the link below a PCI Express port, which has one slot
    :param has_hotplug_controller: whether it is behind a bridge whose slot 0 takes no newcomer
    :param units: how many places an IDE bus has
    :param scsi: the addresses of a SCSI bus
    """

    name: str
    kind: str
    path: str
    hotplug: bool = False
    capacity: int | None = None
    is_port: bool = False
    has_hotplug_controller: bool = False
    units: int = 0
    scsi: ScsiLimits | None = None
    aio_context: AioContext = None
    """The loop that its disks' requests are to run in."""
    supports_iothreads: bool = False
    """Whether disks on it may be in iothreads."""
    devices: NewestFirst[Device | BoardDevice] = field(default_factory=NewestFirst)
    number: int = 0
    """Of a USB bus: how many there were before it."""
    ports: list[str] = field(default_factory=list)
    """The free ports of a USB bus, the next one first."""
    lacks_hub: bool = False
    """Whether QEMU would have put a hub on it, which qmpd does not."""

    @property
    def plugged(self) -> list[Device]:
        """The devices on it that are not the board's."""
        return [device for device in self.devices if isinstance(device, Device)]

    @property
    def full(self) -> bool:
        """Whether it takes no further device."""
        return self.capacity is not None and len(self.devices) >= self.capacity

    def takes(self, kind: str) -> bool:
        """Whether it is a bus for devices that go on buses of type `kind`."""
        return kind in (self.kind, _SUBTYPES.get(self.kind))


@dataclass(eq=False)
class BoardDevice:
    """A device that is part of the board: known by its place and its buses.

    :param devfn: slot and function of a PCI device: eight functions to a slot
    :param is_multifunction: whether there are other functions in its slot
    """

    model: str
    devfn: int = -1
    is_multifunction: bool = False
    buses: NewestFirst[Bus] = field(default_factory=NewestFirst)
    id: None = None


@dataclass(eq=False)
class Device:
    """One device.

    :param kind: its model
    :param id: its id; None for one without
    :param path: its place in the QOM tree
    :param tables: the properties that models have in the machine's version of QEMU
    :param hotplugged: whether the machine had been built before
    """

    kind: Kind
    id: str | None
    path: str
    tables: DeviceTables
    hotplugged: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    """Values of properties that were set, or determined when the device was realized."""
    linked: dict[str, UserObject] = field(default_factory=dict)
    """The objects that its links lead to, by property."""
    realized: bool = False
    bus: Bus | None = None
    buses: NewestFirst[Bus] = field(default_factory=NewestFirst)
    """The buses that it brings."""
    behind: Device | None = None
    """The virtio device behind a PCI proxy, where this device is one."""
    backend: BlockBackend | None = None
    owns_backend: bool = False
    """Whether the backend was made for the device, and ends with it."""
    unplugging: bool = False
    """Whether the guest has been asked to let go of it."""
    held: list[Waiter] = field(default_factory=list)
    """Requests that have failed and are done again when the guest runs on."""
    port: str = ""
    """Its port on a USB bus."""
    resets: int = 0
    """How many times such requests were dropped, because the guest was reset."""

    def __post_init__(self) -> None:
        if self.kind.behind is not None:
            path = f"{self.path}/virtio-backend"
            kind = KINDS[self.kind.behind]
            self.behind = Device(kind, None, path, self.tables, self.hotplugged)

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.kind.name

    @property
    def properties(self) -> Mapping[str, Property]:
        """The properties that its model has in the machine's version of QEMU."""
        return self.tables.properties(self.kind.name)

    @property
    def devfn(self) -> int:
        """Slot and function of a PCI device: eight functions to a slot."""
        number: int = self.values.get("addr", -1)
        return number

    @property
    def is_multifunction(self) -> bool:
        """Whether there may be other functions in its slot."""
        return bool(self.values.get("multifunction"))

    @property
    def parts(self) -> Iterator[Device]:
        """The device and the parts that it is made of."""
        yield self
        if self.behind is not None:
            yield self.behind
        elif self.kind.makes_disk:
            for bus in self.buses:
                yield from bus.plugged

    @property
    def disk(self) -> Device:
        """The part that has the block backend."""
        return next((part for part in self.parts if part.backend is not None), self)

    @property
    def attached_name(self) -> str:
        """Its id, or its path: what queries and messages call the user of a backend."""
        return self.path if self.id is None else self.id

    @property
    def is_removable(self) -> bool:
        """Whether its medium can be taken out."""
        return self.kind.removable or bool(self.values.get("removable"))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of one of its own properties; `default` if it has no such property."""
        if name in self.values:
            return self.values[name]
        known = self.properties.get(name)
        if known is None:
            return default
        if name == "bootindex":
            return -1
        return DEFAULTS.get(known.type, "") if known.default is None else known.default

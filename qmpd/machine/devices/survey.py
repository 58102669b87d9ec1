"""All devices of a machine, those of the board too, as ``info qtree`` and query-pci show them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import NotServed
from qmpd.machine.devices.board import UNATTACHED, Board
from qmpd.machine.devices.bus import buses_below
from qmpd.machine.devices.device import BoardDevice, Bus, Device
from qmpd.machine.devices.drives import drive_name
from qmpd.machine.devices.wording import quoted, size_words, worded
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.machine.devices.tree import DeviceTree
    from qmpd.profile.recorded.hardware import BoardBus, Hardware, Part

_CMB: Final = 2
_FIRMWARE: Final = 6
"""The number of the region with a PCI device's own firmware."""

_BELOW_4G: Final = {"pc": (0xE0000000, 0xC0000000), "q35": (0xB0000000, 0x80000000)}
"""How much memory is too much to be below 4 GiB, and how much of that is there then."""


_RECORDED: Final = Board(cpus=1, vga="VGA", serials=(0, 1, 2, 3), parallels=("", "", ""), hpet=True)
"""What the boards have that were recorded; besides, a floppy drive."""

_AT: Final = re.compile(rf'"{UNATTACHED}/device\[(\d+)\]"')


@dataclass
class SeenDevice:
    """A device, as it is shown.

    :param properties: their names and texts
    :param devfn: slot and function of a PCI device
    :param function: what it is on its PCI bus; None for other devices
    :param notes: what its bus says of it
    """

    model: str
    id: str
    pins: tuple[str, ...]
    properties: list[tuple[str, str]]
    devfn: int = -1
    function: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    buses: list[SeenBus] = field(default_factory=list)

    def having(self, **texts: str) -> SeenDevice:
        """The device itself, with other texts of some of its properties (``_`` for ``-``)."""
        own = {name.replace("_", "-"): text for name, text in texts.items()}
        self.properties = [(name, own.get(name, text)) for name, text in self.properties]
        return self


@dataclass
class SeenBus:
    """A bus, as it is shown; the newest of its devices come first."""

    name: str
    type: str
    devices: list[SeenDevice] = field(default_factory=list)


class Survey:
    """Looks at all devices of a machine.

    :param tree: the devices
    """

    def __init__(self, tree: DeviceTree) -> None:
        self._tree = tree
        self._board = tree.board
        self._hardware: Hardware = tree.chassis.profile.recorded(Personality.SYSTEM).hardware
        self._live = {bus.name: bus for bus in buses_below(tree.root)}

    def root(self) -> SeenBus:
        """The main system bus, with all that is on it and below.

        :raises NotServed: a device or the machine type is one that qmpd knows too little of
        """
        if self._board.type == "none":
            return SeenBus(self._tree.root.name, self._tree.root.kind)
        return self._bus_of_board(self._hardware.board(self._board.model))

    def _bus_of_board(self, found: BoardBus) -> SeenBus:
        seen = SeenBus(found.name, found.type)
        live = self._live.get(found.name)
        if live is not None:
            seen.devices += map(self._device, live.plugged)
        for part, buses in found.devices:
            for device in self._of_board(part, live):
                device.buses = [self._bus_of_board(bus) for bus in buses]
                seen.devices.append(device)
        return seen

    def _of_board(self, part: Part, live: Bus | None) -> Iterator[SeenDevice]:
        """The board's devices where the recorded one has `part`: one, several or none."""
        board = self._board
        if part.model == "VGA":
            part = part if board.vga in (None, part.model) else self._hardware.model(board.vga)
            yield from self._at_places(part, live)
        elif part.model in ("e1000", "e1000e"):
            yield from self._at_places(part, live)
        elif part.model == "isa-serial":
            if _index(part) in board.serials:
                yield _seen(part)
        elif part.model == "isa-parallel":
            for chardev in board.parallels[_index(part) :][:1]:
                yield _seen(part).having(chardev=quoted(chardev))
        elif part.model == "isa-fdc":
            yield from [_seen(part)] * len(list(_placed(part.model, live)))
        elif not (part.model == "hpet" and not board.hpet) and not (
            part.model == "PIIX4_PM" and not board.acpi
        ):
            yield self._as_configured(_seen(part))

    def _at_places(self, part: Part, live: Bus | None) -> Iterator[SeenDevice]:
        """Adapters, at the places where the board has them."""
        if not self._board.knows_adapters and part.model != "VGA":
            raise NotServed("Network adapters by -nic, or with options, are not served by qmpd")
        for number, device in reversed(list(enumerate(reversed(list(_placed(part.model, live)))))):
            seen = _seen(part, device.devfn).having(addr=_address(device.devfn))
            if number:
                seen.having(
                    mac=quoted(f"52:54:00:12:34:{0x56 + number:02x}"),
                    netdev=quoted(f"hub0port{number}"),
                )
            yield seen

    def _as_configured(self, seen: SeenDevice) -> SeenDevice:
        """A device, with what the machine's options make of it."""
        seen.properties = [(name, _AT.sub(self._at, text)) for name, text in seen.properties]
        limit, below = _BELOW_4G[self._board.type]
        memory = self._board.memory
        below = below if memory >= limit else memory
        return seen.having(
            below_4g_mem_size=size_words(below),
            above_4g_mem_size=size_words(memory - below),
            has_acpi=worded("bool", self._board.acpi),
        )

    def _at(self, recorded: re.Match[str]) -> str:
        """Where a device of the board is that was at another place when it was recorded."""
        rules = self._tree.chassis.profile.rules
        there = replace(_RECORDED, type=self._board.type).numbers(0, 1, rules)
        number = int(recorded[1])
        name = max((n for n in there if there[n] <= number), key=lambda n: there[n])
        return f'"{UNATTACHED}/device[{self._tree.numbers[name] + number - there[name]}]"'

    def _device(self, device: Device) -> SeenDevice:
        part = self._hardware.model(device.model)
        behind = device.behind
        function = part.function_with(
            lambda name: device.get(name) if behind is None else behind.get(name, device.get(name))
        )
        if function is not None and device.kind.bus == "PCI":
            function = {**function, "regions": _regions(device, function["regions"])}
        seen = SeenDevice(
            device.model,
            device.id or "",
            part.pins,
            [(name, _text(device, name, text)) for name, text in part.properties],
            device.devfn,
            function,
        )
        seen.notes += part.irqs
        if part.usb is not None:
            seen.notes.append(self._usb_note(device, part.usb))
        elif device.kind.bus == "virtio-serial-bus":
            host = "on" if self._is_connected(device) else "off"
            seen.notes.append(f"port {device.get('nr')}, guest off, host {host}, throttle off")
        seen.buses = [
            SeenBus(bus.name, bus.kind, [self._device(below) for below in bus.plugged])
            for bus in device.buses
        ]
        return seen

    def _is_connected(self, device: Device) -> bool:
        """Whether somebody is at the host's end of a port; a console never waits for that."""
        chardev = device.values.get("chardev")
        if not chardev:
            return False
        return device.model == "virtconsole" or self._tree.chassis.chardev_is_open(chardev)

    def _usb_note(self, device: Device, usb: Mapping[str, Any]) -> str:
        bus, speed = self._usb_place(device, usb)
        attached = ", attached" if device.get("attached", True) else ""
        return (
            f"addr {bus.number}.0, port {device.port}, speed {speed}, name {usb['name']}{attached}"
        )

    def _usb_place(self, device: Device, usb: Mapping[str, Any]) -> tuple[Bus, str]:
        """The bus of a USB device, and its speed there in Mb/s."""
        bus = device.bus
        assert bus is not None
        if bus.lacks_hub:
            raise NotServed(
                f"There would be a USB hub on bus '{bus.name}', which is not served by qmpd"
            )
        controller = next(each.model for each in self._tree if bus in each.buses)
        return bus, usb["speeds"][_same_as(controller)]

    def usb_devices(self) -> list[str] | None:
        """All USB devices, bus by bus, as ``info usb`` words them; None where there is no bus.

        :raises NotServed: QEMU would have a hub there
        """
        buses = [bus for bus in self._live.values() if bus.kind == "usb-bus"]
        if not buses:
            return None
        lines = []
        for bus in sorted(buses, key=lambda each: each.number):
            for device in reversed(bus.plugged):
                usb = self._hardware.model(device.model).usb
                assert usb is not None
                _, speed = self._usb_place(device, usb)
                named = "" if device.id is None else f", ID: {device.id}"
                lines.append(
                    f"Device {bus.number}.0, Port {device.port}, Speed {speed} Mb/s,"
                    f" Product {usb['name']}{named}"
                )
        return lines


def _same_as(controller: str) -> str:
    """The controller that was looked at and has the same speeds."""
    if "xhci" in controller:
        return "qemu-xhci"
    return "usb-ehci" if "ehci" in controller else "piix3-usb-uhci"


def _placed(model: str, live: Bus | None) -> Iterator[BoardDevice]:
    """The board's devices of a model, the newest first."""
    for device in () if live is None else live.devices:
        if isinstance(device, BoardDevice) and device.model == model:
            yield device


def _seen(part: Part, devfn: int = -1) -> SeenDevice:
    properties = dict(part.properties)
    if part.function is not None and devfn == -1:
        slot, function = properties["addr"].split(".")
        devfn = int(slot, 16) * 8 + int(function)
    return SeenDevice(
        part.model,
        "",
        part.pins,
        list(part.properties),
        devfn,
        part.function,
        [*part.irqs, *part.memory],
    )


def _regions(device: Device, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The regions of a PCI function, with its own option ROM and its memory for a controller."""
    regions = [each for each in recorded if each["bar"] != _FIRMWARE]
    if size := device.get("cmb_size_mb", 0) << 20:
        regions.append(_memory(_CMB, size, is_wide=True))
    if device.values["romfile"] and device.get("rombar"):
        regions.append(_memory(_FIRMWARE, device.values["romsize"], is_wide=False))
    return sorted(regions, key=lambda each: int(each["bar"]))


def _memory(bar: int, size: int, *, is_wide: bool) -> dict[str, Any]:
    """A region of memory that no firmware has mapped.

    :param is_wide: whether it may be read ahead, and mapped beyond 4 GiB
    """
    flags = {"prefetch": is_wide, "mem_type_64": is_wide}
    return {**flags, "bar": bar, "size": size, "type": "memory", "address": -1}


def _index(part: Part) -> int:
    """The number of a port of the board's."""
    return int(dict(part.properties)["index"].split(" ")[0])


def _address(devfn: int) -> str:
    return f"{devfn // 8:02x}.{devfn % 8:x}"


def _text(device: Device, name: str, recorded: str) -> str:
    """The text of a property: as it was recorded, where nothing has set it."""
    if name == "addr":
        return _address(device.devfn)
    if name == "drive":
        return quoted(drive_name(device))
    if name not in device.values:
        return recorded
    return worded(device.properties[name].type, device.values[name])

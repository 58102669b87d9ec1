"""What devices are made of, as ``info qtree`` and query-pci show it, and the boards' own ones.

A machine is started for each device model that qmpd has, and for each machine type of a PC.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from qmpd.cli.recorder.emulator import Emulator, Gone
from qmpd.profile.recorded.coding import as_inserted

Table = dict[str, Any]

Start = Callable[[str, Sequence[str]], Emulator]
"""Starts a machine of this type, with these further options."""


class Plug(NamedTuple):
    """How a device of a model is made.

    :param device: the value of ``-device``, without the model
    :param others: further options before it
    :param machine: type of the machine
    """

    device: str = ""
    others: tuple[str, ...] = ()
    machine: str = "q35"


_DRIVE: Final = ("-drive", "if=none,id=d,driver=null-co,size=1M")
_SCSI: Final = ("-device", "virtio-scsi-pci,id=s")
_SERIAL: Final = ("-device", "virtio-serial-pci", "-chardev", "null,id=c")
_USB: Final = ("-device", "qemu-xhci,id=u")
_CONTROLLERS: Final = ("qemu-xhci", "usb-ehci", "piix3-usb-uhci")
_CHARDEV: Final = ("-chardev", "null,id=c")

_GIVEN: Final = ('"c"', '"d"', '"s"')

_PLUGS: Final = {
    "virtio-blk-pci": Plug("drive=d", _DRIVE),
    "scsi-hd": Plug("drive=d", (*_DRIVE, *_SCSI)),
    "scsi-cd": Plug("", _SCSI),
    "ide-hd": Plug("drive=d", _DRIVE),
    "floppy": Plug(machine="pc"),
    "usb-storage": Plug("drive=d,bus=u.0", (*_USB, *_DRIVE)),
    "nvme": Plug("serial=s,drive=d", _DRIVE),
    "pci-bridge": Plug("chassis_nr=1"),
    "virtserialport": Plug("", _SERIAL),
    "virtconsole": Plug("chardev=c", _SERIAL),
    "isa-serial": Plug("chardev=c", _CHARDEV),
    "isa-parallel": Plug("chardev=c", _CHARDEV),
    "usb-tablet": Plug("bus=u.0", _USB),
    "usb-mouse": Plug("bus=u.0", _USB),
    "usb-kbd": Plug("bus=u.0", _USB),
}
"""The models that do not plug in just so."""

_VARIANTS: Final[tuple[dict[str, Any], ...]] = (
    {"disable-legacy": "on"},
    {"disable-modern": True},
    {"vectors": 0},
    {"disable-legacy": "on", "vectors": 0},
    {"disable-modern": True, "vectors": 0},
    {"page-per-vq": True},
    {"disable-legacy": "on", "page-per-vq": True},
    {"shpc": False},
    {"msi": "off"},
    {"rombar": 0},
    {"discard": False, "write-zeroes": False},
)
"""Values of properties with which a PCI function looks otherwise."""

_OPTIONAL: Final = (
    *("-vga", "std", "-net", "nic", "-drive", "if=floppy,index=0"),
    *(word for _ in range(4) for word in ("-serial", "null")),
    *(word for _ in range(3) for word in ("-parallel", "null")),
)
"""Everything that a board may have."""

_DEVICE: Final = re.compile(r'dev: (.+), id "(.*)"\Z')
_PROPERTY: Final = re.compile(r"(\S+) = (.*)\Z")
_AT: Final = re.compile(r"class .*, addr ([0-9a-f]+):([0-9a-f]+)\.([0-7]), pci id .*\Z")
_USB_DEVICE: Final = re.compile(r"addr \S+, port \S+, speed (\S+), name (.*?)(?:, attached)?\Z")


def hardware(start: Start, models: Sequence[str], say: Callable[[str], None]) -> Table:
    """The parts of devices, by model, and of boards, by machine type.

    :param models: those that qmpd has; the program may lack some
    :param say: told the name of each
    """
    found: dict[str, Table] = {}
    for model in models:
        if model not in found:
            say(model)
            with suppress(Gone):
                _look_at_model(start, model, models, found)
    boards, parts = _boards(start, say)
    return {"models": found, "boards": boards, "parts": parts}


def _look_at_model(
    start: Start, model: str, models: Sequence[str], found: dict[str, Table]
) -> None:
    for device, functions in _plug(start, model, {}):
        if device["model"] in models and device["model"] not in found:
            found[device["model"]] = _described(device, functions)
    if "usb" in found[model]:
        found[model]["usb"] = _on_controllers(start, model)
    if "pci" not in found[model]:
        return
    known = [each["name"] for each in _properties(start, model)]
    for variant in _VARIANTS:
        if not all(name in known for name in variant):
            continue
        try:
            for device, functions in _plug(start, model, variant):
                if device["model"] == model:
                    other = _described(device, functions)["pci"]
                    if other != found[model]["pci"]:
                        found[model].setdefault("variants", []).append([variant, other])
        except Gone:
            continue


def _on_controllers(start: Start, model: str) -> Table:
    """The name of a USB device, and its speed at each controller."""
    plug, name, speeds = _PLUGS[model], "", {}
    for controller in _CONTROLLERS:
        others = [word.replace(_USB[1], f"{controller},id=u") for word in plug.others]
        with start("q35", [*others, "-device", f"{model},{plug.device}"]) as emulator:
            for device in _devices(parse(_shown(emulator))):
                if device["model"] == model:
                    speeds[controller], name = _described(device, {})["usb"]
    return {"name": name, "speeds": speeds}


def _properties(start: Start, model: str) -> list[Table]:
    with start("none", ()) as emulator:
        listed: list[Table] = emulator.ask("device-list-properties", typename=model)
    return listed


def _plug(start: Start, model: str, values: dict[str, Any]) -> list[tuple[Table, dict[str, Table]]]:
    """The devices of a machine with one of this model, and the PCI functions by their places."""
    plug = _PLUGS.get(model, Plug())
    given = {
        name: value if isinstance(value, str) else json.dumps(value).replace("true", "on")
        for name, value in values.items()
    }
    text = ",".join([model, *filter(None, [plug.device]), *map("=".join, given.items())])
    words = [*plug.others, "-device", text.replace("false", "off")]
    with start(plug.machine, words) as emulator:
        tree = parse(_shown(emulator))
        functions = _functions(emulator)
    return [(device, functions) for device in _devices(tree)]


def _shown(emulator: Emulator) -> str:
    text: str = emulator.ask("human-monitor-command", **{"command-line": "info qtree"})
    return text.replace("\r\n", "\n")


def _functions(emulator: Emulator) -> dict[str, Table]:
    """The PCI functions of the first bus, by slot and function."""
    return {
        f"{device['slot']:02x}.{device['function']}": as_inserted(device)
        for bus in emulator.ask("query-pci")[:1]
        for device in bus["devices"]
    }


def parse(text: str) -> Table:
    """The bus at the root of what ``info qtree`` shows.

    A bus has `name`, `type` and `devices`; a device `model`, `id`, `lines` that are no properties,
    `properties` (pairs of names and texts) and `buses`.
    """
    lines = [(len(line) - len(line.lstrip(" ")), line.lstrip(" ")) for line in text.splitlines()]
    bus, _ = _parse_bus(lines, 0)
    return bus


def _parse_bus(lines: list[tuple[int, str]], at: int) -> tuple[Table, int]:
    indent, first = lines[at]
    bus: Table = {"name": first.removeprefix("bus: "), "type": lines[at + 1][1][5:], "devices": []}
    at += 2
    while at < len(lines) and lines[at][0] == indent + 2:
        device, at = _parse_device(lines, at)
        bus["devices"].append(device)
    return bus, at


def _parse_device(lines: list[tuple[int, str]], at: int) -> tuple[Table, int]:
    indent, first = lines[at]
    match = _DEVICE.match(first)
    assert match is not None, first
    device: Table = {"model": match[1], "id": match[2], "lines": [], "properties": [], "buses": []}
    at += 1
    while at < len(lines) and lines[at][0] == indent + 2:
        line = lines[at][1]
        if line.startswith("bus: "):
            bus, at = _parse_bus(lines, at)
            device["buses"].append(bus)
            continue
        found = _PROPERTY.match(line)
        if found is not None and not _AT.match(line):
            device["properties"].append([found[1], found[2]])
        else:
            device["lines"].append(line)
        at += 1
    return device, at


def _devices(bus: Table) -> Iterator[Table]:
    for device in bus["devices"]:
        yield device
        for below in device["buses"]:
            yield from _devices(below)


def _described(device: Table, functions: dict[str, Table]) -> Table:
    """A device without its place: `properties`, `gpios`, and `pci`, `mmio` or `usb`."""
    lines = device["lines"]
    # what a device was given here is not what others have
    found: Table = {
        "properties": [
            [name, '""' if text in _GIVEN else text] for name, text in device["properties"]
        ]
    }
    for name, start in (("gpios", "gpio-"), ("mmio", "mmio "), ("isa", "isa irq")):
        chosen = [line for line in lines if line.startswith(start)]
        if chosen:
            found[name] = chosen
    for line in lines:
        at, usb = _AT.match(line), _USB_DEVICE.match(line)
        if at is not None:
            found["pci"] = _function(line, functions.get(f"{at[2]}.{at[3]}"))
        elif usb is not None:
            found["usb"] = [usb[1], usb[2]]
    return found


def _function(line: str, function: Table | None) -> Table:
    if function is None:
        raise ValueError(f"query-pci does not know '{line}'")
    info = {name: function[name] for name in ("class_info", "id", "irq_pin", "regions")}
    if "pci_bridge" in function:
        info["pci_bridge"] = function["pci_bridge"]
        info["sub"] = line.rpartition("(sub ")[2].rstrip(")")
    return info


def _boards(start: Start, say: Callable[[str], None]) -> tuple[dict[str, Table], list[Table]]:
    with start("none", ()) as emulator:
        names = [machine["name"] for machine in emulator.ask("query-machines")]
    numbers: dict[str, int] = {}
    boards: dict[str, Table] = {}
    for name in sorted(names):
        if name.startswith(("pc-i440fx-", "pc-q35-")):
            say(name)
            # a type may want what is not installed
            with suppress(Gone), start(name, _OPTIONAL) as emulator:
                tree, functions = parse(_shown(emulator)), _functions(emulator)
                boards[name] = _bus_of_board(tree, functions, numbers)
    return boards, [json.loads(text) for text in numbers]


def _bus_of_board(bus: Table, functions: dict[str, Table], numbers: dict[str, int]) -> Table:
    devices = []
    for device in bus["devices"]:
        if bus["type"] in ("floppy-bus", "IDE"):
            continue  # a drive's
        part = {"model": device["model"], **_described(device, functions)}
        entry: Table = {"part": numbers.setdefault(json.dumps(part), len(numbers))}
        below = [_bus_of_board(each, functions, numbers) for each in device["buses"]]
        devices.append({**entry, "buses": below} if below else entry)
    return {"name": bus["name"], "type": bus["type"], "devices": devices}

"""The PCI bus, as query-pci tells it: no firmware has run, so nothing is mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.machine.devices.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.machine.devices.survey import SeenBus, SeenDevice
    from qmpd.machine.devices.tree import DeviceTree

Info = dict[str, Any]


def query_pci(tree: DeviceTree) -> list[Info]:
    """Command query-pci: the first bus; what is behind a bridge shows once firmware has run.

    :raises NotServed: qmpd knows too little of a device
    """
    return [
        {"bus": 0, "devices": [_device(each) for each in sorted(bus.devices, key=_place)]}
        for bus in _first_buses(Survey(tree).root())
    ]


def _first_buses(root: SeenBus) -> Iterator[SeenBus]:
    for device in root.devices:
        for bus in device.buses:
            if bus.type in ("PCI", "PCIE"):
                yield bus


def _place(device: SeenDevice) -> int:
    return device.devfn


def _device(device: SeenDevice) -> Info:
    function = device.function
    assert function is not None
    slot, number = divmod(device.devfn, 8)
    info: Info = {"bus": 0, "slot": slot, "function": number}
    info["class_info"] = _members(function["class_info"], "desc", "class")
    info["id"] = _members(function["id"], "device", "vendor", "subsystem", "subsystem-vendor")
    if function["irq_pin"]:
        info["irq"] = 0
    info["irq_pin"] = function["irq_pin"]
    info["qdev_id"] = device.id
    if "pci_bridge" in function:
        info["pci_bridge"] = {"bus": _bridge(function["pci_bridge"]["bus"])}
    shown = ("bar", "type", "address", "size", "prefetch", "mem_type_64")
    info["regions"] = [_members(region, *shown) for region in function["regions"]]
    return info


def _bridge(found: Info) -> Info:
    info = _members(found, "number", "secondary", "subordinate")
    for name in ("io_range", "memory_range", "prefetchable_range"):
        info[name] = _members(found[name], "base", "limit")
    return info


def _members(found: Info, *names: str) -> Info:
    """The members that there are, in the schema's order."""
    return {name: found[name] for name in names if name in found}

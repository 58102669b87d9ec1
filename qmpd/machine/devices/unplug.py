"""Who unplugs a PCI device, and when it goes.

ACPI, and the ports of PCI Express, ask the guest; in qmpd a guest lets go at its reset.  The
hotplug controller of a bridge (SHPC) does not ask where the guest has not switched the slot on,
which no guest of qmpd does: the device goes at once.  ACPI is responsible for the buses that were
there when the machine was made, a bridge's controller for that of a bridge that was plugged in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.machine.devices.board import Board
    from qmpd.machine.devices.device import Bus, Device
    from qmpd.profile.rules import Rules


def has_acpi(bridge: Device, board: Board, rules: Rules) -> bool:
    """Whether ACPI is responsible for the bus behind a bridge."""
    for_bridges = board.type == "pc" or not rules.holds("ports-unplug")
    return board.acpi and for_bridges and not bridge.hotplugged


def going_at_once(device: Device, rules: Rules) -> list[Device]:
    """The devices that go when `device` is to be unplugged; none where the guest is asked."""
    bus = device.bus
    if bus is None:
        return []
    if bus.has_hotplug_controller:
        slot = device.devfn // 8
        return [other for other in bus.plugged if other.devfn // 8 == slot]
    if bus.is_port and rules.holds("ports-unplug"):
        # the guest has not been shown functions without a function 0
        return [] if any(other.devfn == 0 for other in bus.plugged) else bus.plugged
    return []


def may_ask_again(device: Device, rules: Rules) -> bool:
    """Whether a device that is to be unplugged may be told so again."""
    is_at_port = device.bus is not None and device.bus.is_port
    return rules.holds("unplug-again") and not is_at_port


def going_at_reset(bus: Bus, rules: Rules) -> list[Device]:
    """The devices of a bus that go when the guest is reset, slot by slot."""
    if bus.is_port and rules.holds("ports-unplug"):
        return []
    asked = {device.devfn // 8 for device in bus.plugged if device.unplugging}
    return [
        device
        for slot in sorted(asked)
        for device in bus.plugged
        if device.devfn // 8 == slot and not _stays(device)
    ]


def _stays(device: Device) -> bool:
    return device.kind.is_bridge and not device.hotplugged


def ends(device: Device, rules: Rules) -> list[dict[str, str]]:
    """What DEVICE_DELETED tells of a device that ends: first of its core, if it has one."""
    own = {} if device.id is None else {"device": device.id}
    told = [{**own, "path": device.path}]
    if not device.kind.core:
        return told
    if not rules.holds("xhci-tells-its-end"):
        return []  # something of it is still referred to
    return [{"path": f"{device.path}/{device.kind.core}"}, *told]

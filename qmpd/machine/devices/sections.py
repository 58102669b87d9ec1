"""Devices as sections of a migration stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device


def unmigratable(devices: list[Device]) -> list[str]:
    """Those whose state cannot be saved, as QEMU's sections are called."""
    return [
        f"0000:00:{_address(device, devices)}/{device.model}"
        for device in devices
        if not device.kind.migratable
    ]


def _address(device: Device, devices: list[Device]) -> str:
    """Slot and function, with those of the bridges in front (``pcibus_get_dev_path``)."""
    slot, function = divmod(device.values["addr"], 8)
    own = f"{slot:02x}.{function:x}"
    bridge = next((other for other in devices if device.bus in other.buses), None)
    return own if bridge is None else f"{_address(bridge, devices)}:{own}"

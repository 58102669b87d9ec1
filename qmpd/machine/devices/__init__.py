"""The devices of a machine: buses, block devices on them, and the tree that shows them."""

from __future__ import annotations

from qmpd.machine.devices.device import Device
from qmpd.machine.devices.tree import DeviceTree

__all__ = ["Device", "DeviceTree"]

"""What the names that programs use on the bench stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.io.backends import backend_of_device, find_backend

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.machine import Machine


def backend_called(machine: Machine, name: str) -> BlockBackend | None:
    """The backend of this name, or that of the device of this id or path.

    QMP knows virtio disks by the path of the part that has the backend only
    (``/machine/peripheral/ID/virtio-backend``); here their id does as well.
    """
    backend = find_backend(machine.graph, name) or backend_of_device(machine.graph, name)
    if backend is None:
        device = machine.devices.peripheral.get(name)
        backend = None if device is None else device.disk.backend
    return backend

"""Requests of a guest to its disks, and what becomes of those that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices.chassis import Chassis
    from qmpd.machine.devices.device import Device

T = TypeVar("T")


async def guest_request(
    chassis: Chassis,
    device: Device,
    kind: str,
    length: int,
    request: Callable[[BlockBackend], Coroutine[Any, Any, T]],
) -> T | None:
    """Do a request of the guest; if it fails, report it, ignore it, or retry it at `cont`.

    :param device: the disk
    :param kind: how it is accounted: rd, wr, flush or unmap
    :param length: bytes
    :param request: makes the coroutine that does it
    :returns: its result; None for a failure that is ignored
    :raises BlockIOError: the guest is told of a failure
    """
    operation = "read" if kind == "rd" else "write"
    while True:
        backend = device.backend
        if backend is None:
            raise BlockIOError(errno.ENOMEDIUM)
        try:
            return await backend.counted(kind, length, request(backend))
        except BlockIOError as error:
            action = _error_action(backend, operation, error.errno)
            _report(device, backend, operation, action, error.errno)
            if action == "report":
                raise
            if action == "ignore":
                return None
            # the guest stops, and the request is done again when it goes on
            backend.set_io_error(error.errno)
            waiter = Waiter()
            device.held.append(waiter)
            chassis.stop_for_io_error()
            await waiter


def _report(device: Device, backend: BlockBackend, operation: str, action: str, code: int) -> None:
    """Emit BLOCK_IO_ERROR (``send_qmp_error_event``)."""
    data: dict[str, Any] = {"qom-path": device.path, "device": backend.name}
    if backend.node is not None:
        data["node-name"] = backend.node.node_name
    data["operation"] = operation
    data["action"] = action
    if backend.io_status is not None:
        data["nospace"] = code == errno.ENOSPC
    data["reason"] = os.strerror(code)
    backend.graph.services.emit("BLOCK_IO_ERROR", data)


def _error_action(backend: BlockBackend, operation: str, code: int) -> str:
    """How a failed request is handled (``blk_get_error_action``): report, ignore or stop.

    :param code: errno of the failure
    """
    policy = backend.on_read_error if operation == "read" else backend.on_write_error
    if policy == "enospc":
        return "stop" if code == errno.ENOSPC else "report"
    return policy


def resume(device: Device) -> None:
    """Retry the requests that waited for the guest to run again."""
    held, device.held = device.held, []
    for waiter in held:
        waiter.wake()

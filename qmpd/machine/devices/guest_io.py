"""Requests of a guest to its disks, and what becomes of those that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices.chassis import Chassis
    from qmpd.machine.devices.device import Device

T = TypeVar("T")

ACCOUNTED_AS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "read": "rd",
        "write": "wr",
        "write_zeroes": "wr",
        "discard": "unmap",
        "flush": "flush",
    }
)
"""What a guest may ask of a disk, and how it is accounted."""


async def guest_request(
    chassis: Chassis,
    device: Device,
    operation: str,
    length: int,
    request: Callable[[BlockBackend], Coroutine[Any, Any, T]],
) -> T | None:
    """Do a request of the guest; if it fails, report it, ignore it, or retry it at `cont`.

    :param device: the disk
    :param operation: one of `ACCOUNTED_AS`
    :param length: bytes
    :param request: makes the coroutine that does it
    :returns: its result; None for a failure that is ignored
    :raises BlockIOError: the guest is told of a failure; ECANCELED: it was reset meanwhile
    """
    while True:
        backend = device.backend
        if backend is None:
            raise BlockIOError(errno.ENOMEDIUM)
        now = backend.graph.services.clocks.realtime.now
        began = now()
        try:
            result = await request(backend)
        except BlockIOError as error:
            action = _error_action(backend, operation, error.errno)
            _account(device, backend, operation, action, length, now() - began)
            _report(device, backend, operation, action, error.errno)
            if action == "report":
                raise
            if action == "ignore":
                return None
            # the guest stops, and the request is done again when it goes on
            backend.set_io_error(error.errno)
            waiter = Waiter()
            device.held.append(waiter)
            resets = device.resets
            chassis.stop_for_io_error()
            await waiter
            if device.resets != resets:
                raise BlockIOError(errno.ECANCELED) from None
        else:
            if operation != "discard" or device.kind.counts_discards:
                backend.account_done(ACCOUNTED_AS[operation], length, now() - began)
            return result


def _account(
    device: Device, backend: BlockBackend, operation: str, action: str, length: int, duration: int
) -> None:
    """Count a request that has failed, in the way of its device.

    A failure that is ignored counts as a success, and one that stops the guest not at all, for
    the request is done again.  SCSI disks count reads and writes that fail whatever is done about
    it (``scsi_read_complete``), but not so zeroes (``scsi_write_same_complete``); virtio disks
    count no discards (``virtio_blk_discard_write_zeroes_complete``).
    """
    if operation == "discard" and not device.kind.counts_discards:
        return
    kind = ACCOUNTED_AS[operation]
    if action == "report" or (device.kind.bus == "SCSI" and operation in ("read", "write")):
        backend.account_failed(kind, duration)
    elif action == "ignore":
        backend.account_done(kind, length, duration)


def _report(device: Device, backend: BlockBackend, operation: str, action: str, code: int) -> None:
    """Emit BLOCK_IO_ERROR (``send_qmp_error_event``)."""
    data: dict[str, Any] = {"qom-path": device.path, "device": backend.name}
    if backend.node is not None:
        data["node-name"] = backend.node.node_name
    data["operation"] = "read" if operation == "read" else "write"
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


def drop(device: Device) -> None:
    """Give up the requests that waited for the guest to run again: it is reset."""
    device.resets += 1
    resume(device)

"""Requests of a guest to its disks, and what becomes of those that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.errors import BlockIOError
from qmpd.loop.clock import Waiter

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices.chassis import Chassis
    from qmpd.machine.devices.device import Device

T = TypeVar("T")


class GuestIO:
    """Requests to the disk of one device.

    :param chassis: the machine, which is paused where a request must wait for the user
    """

    def __init__(self, chassis: Chassis, device: Device) -> None:
        self._chassis = chassis
        self._device = device.disk

    async def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes at byte `offset`.

        :raises BlockIOError: the guest is told of a failure
        """
        return await self._request("read", "rd", length, lambda b: b.pread(offset, length))

    async def write(self, offset: int, data: bytes) -> None:
        """Write `data` at byte `offset`.

        :raises BlockIOError: the guest is told of a failure
        """
        await self._request("write", "wr", len(data), lambda b: b.pwrite(offset, data))

    async def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Write `length` zeroes at byte `offset`.

        :param unmap: they may be deallocated
        :raises BlockIOError: the guest is told of a failure
        """
        await self._request(
            "write", "wr", length, lambda b: b.pwrite_zeroes(offset, length, may_unmap=unmap)
        )

    async def discard(self, offset: int, length: int) -> None:
        """Discard `length` bytes at byte `offset`.

        :raises BlockIOError: the guest is told of a failure
        """
        await self._request("write", "unmap", length, lambda b: b.pdiscard(offset, length))

    async def flush(self) -> None:
        """Flush what was written.

        :raises BlockIOError: the guest is told of a failure
        """
        await self._request("write", "flush", 0, lambda b: b.flush())

    async def _request(
        self,
        operation: str,
        counted: str,
        length: int,
        request: Callable[[BlockBackend], Coroutine[Any, Any, T]],
    ) -> T:
        """Do a request; one that fails is reported, ignored, or done again when the guest runs."""
        while True:
            backend = self._device.backend
            if backend is None:
                raise BlockIOError(errno.ENOMEDIUM)
            try:
                return await backend.counted(counted, length, request(backend))
            except BlockIOError as error:
                action = _error_action(backend, operation, error.errno)
                self._report(backend, operation, action, error.errno)
                if action == "report":
                    raise
                if action == "ignore":
                    return None if operation == "write" else bytes(length)  # type: ignore[return-value]
                await self._hold(backend, error.errno)

    def _report(self, backend: BlockBackend, operation: str, action: str, code: int) -> None:
        data: dict[str, Any] = {"qom-path": self._device.path, "device": backend.name}
        if backend.node is not None:
            data["node-name"] = backend.node.node_name
        data["operation"] = operation
        data["action"] = action
        if backend.io_status is not None:
            data["nospace"] = code == errno.ENOSPC
        data["reason"] = os.strerror(code)
        backend.graph.services.emit("BLOCK_IO_ERROR", data)

    async def _hold(self, backend: BlockBackend, code: int) -> None:
        """Stop the guest; the request is done again when it goes on."""
        backend.set_io_error(code)
        waiter = Waiter()
        self._device.held.append(waiter)
        self._chassis.stop_for_io_error()
        await waiter


def _error_action(backend: BlockBackend, operation: str, code: int) -> str:
    """What becomes of a failed request (``blk_get_error_action``): report, ignore or stop.

    :param code: errno of the failure
    """
    policy = backend.on_read_error if operation == "read" else backend.on_write_error
    if policy == "enospc":
        return "stop" if code == errno.ENOSPC else "report"
    return policy


def resume(device: Device) -> None:
    """The guest runs again: do what was held once more."""
    held, device.held = device.held, []
    for waiter in held:
        waiter.wake()

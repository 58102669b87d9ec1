"""What a guest does to a device: requests, and what becomes of those that fail.

The error policies are QEMU's: `report` lets the guest know, `ignore` pretends success, `stop`
stops the machine and tries again when it goes on, `enospc` stops when there is no space and
reports all else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from qmpd.clock import Waiter
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.devices.block_device import BlockDevice

T = TypeVar("T")

DEFAULT_POLICIES: Final = {"read": "report", "write": "enospc"}
"""What `auto` comes to where neither device nor drive says anything."""


class GuestIO:
    """The requests of the guest of one device.

    :param device: the device, with its backend and policies
    """

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self._held: list[tuple[Waiter, list[bool]]] = []

    async def read(self, offset: int, length: int) -> bytes:
        """The guest reads.

        :raises BlockIOError: it is told of a failure
        """
        data = await self._request("read", "rd", length, lambda b: b.pread(offset, length))
        return bytes(length) if data is None else data

    async def write(self, offset: int, data: bytes) -> None:
        """The guest writes."""
        await self._request("write", "wr", len(data), lambda b: b.pwrite(offset, data))

    async def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """The guest writes zeroes."""
        await self._request(
            "write", "wr", length, lambda b: b.pwrite_zeroes(offset, length, may_unmap=unmap)
        )

    async def discard(self, offset: int, length: int) -> None:
        """The guest discards."""
        await self._request("write", "unmap", length, lambda b: b.pdiscard(offset, length))

    async def flush(self) -> None:
        """The guest flushes."""
        await self._request("write", "flush", 0, lambda b: b.flush())

    async def _request(
        self,
        operation: str,
        counted: str,
        length: int,
        request: Callable[[BlockBackend], Coroutine[Any, Any, T]],
    ) -> T | None:
        """Do a request as the error policy has it: fail, pass over (None), or wait and retry."""
        while True:
            backend = self._device.backend
            if backend is None:
                raise BlockIOError(errno.ENOMEDIUM)
            began = backend.graph.clock.now()
            try:
                result = await request(backend)
            except BlockIOError as error:
                action = self._action(operation, error.errno)
                duration = backend.graph.clock.now() - began
                if action == "report":
                    backend.account_failed(counted, duration)
                self._report(backend, operation, action, error.errno)
                if action == "report":
                    raise
                if action == "ignore":
                    backend.account_done(counted, length, duration)
                    return None
                await self._hold(backend, error)
            else:
                backend.account_done(counted, length, backend.graph.clock.now() - began)
                return result

    def _action(self, operation: str, code: int) -> str:
        policy = self._device.policy(operation)
        if policy == "enospc":
            return "stop" if code == errno.ENOSPC else "report"
        return policy

    def _report(self, backend: BlockBackend, operation: str, action: str, code: int) -> None:
        """Tell of a failure; one that stops the machine shows in the I/O status first."""
        attached = backend.device
        has_status = attached is not None and attached.io_status is not None
        if action == "stop" and attached is not None and attached.io_status == "ok":
            attached.io_status = "nospace" if code == errno.ENOSPC else "failed"
        data: dict[str, Any] = {"qom-path": self._device.path, "device": backend.name}
        if backend.node is not None:
            data["node-name"] = backend.node.node_name
        data |= {"operation": operation, "action": action}
        if has_status:
            data["nospace"] = code == errno.ENOSPC
        data["reason"] = os.strerror(code)
        self._device.machine.events.emit("BLOCK_IO_ERROR", data)

    async def _hold(self, backend: BlockBackend, error: BlockIOError) -> None:
        """Stop the machine; returns when it runs again.

        :raises BlockIOError: the device was reset meanwhile, the request is lost
        """
        waiter, retried = Waiter(), [True]
        self._held.append((waiter, retried))
        self._device.machine.stop_for_io_error()
        await waiter
        if not retried[0]:
            raise BlockIOError(errno.ECANCELED)

    def retry(self) -> None:
        """The machine runs again: what was held is tried once more."""
        self._wake(again=True)

    def reset(self) -> None:
        """The device is reset: what was held is lost."""
        self._wake(again=False)

    def _wake(self, *, again: bool) -> None:
        held, self._held = self._held, []
        for waiter, retried in held:
            retried[0] = again
            waiter.wake()

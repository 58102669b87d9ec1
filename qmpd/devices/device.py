"""Devices: what stands between a guest and a block backend."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.block.backend import AttachedDevice, BlockBackend
from qmpd.clock import Waiter
from qmpd.devices.properties import DEFAULTS
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.devices.bus import Bus
    from qmpd.devices.kinds import Kind
    from qmpd.machine import Machine

T = TypeVar("T")

_DEFAULT_ACTIONS = {"read": "report", "write": "enospc"}
"""What `auto` means for reads and for all other requests."""


class Device:
    """One device, plugged in.

    :param kind: its model
    :param device_id: its id; None for one without
    :param path: its place in the QOM tree
    :param properties: what it was given, read
    """

    def __init__(
        self,
        machine: Machine,
        kind: Kind,
        device_id: str | None,
        path: str,
        properties: dict[str, Any],
    ) -> None:
        self.machine = machine
        self.kind = kind
        self.id = device_id
        self.path = path
        self.properties = properties
        self.bus: Bus | None = None
        self.offered: Bus | None = None
        """The bus it brings."""
        self.backend: BlockBackend | None = None
        self.owns_backend = False
        """Whether the backend goes with it."""
        self.unplugging = False
        self._held: list[Waiter] = []

    @property
    def attached_name(self) -> str:
        """Its id, or its path: how queries and messages call it as a user of a backend."""
        if self.kind.backend_path or self.id is None:
            return self.path + self.kind.backend_path
        return self.id

    def attached(self) -> AttachedDevice:
        """What its backend knows of it."""
        kind = self.kind
        removable = kind.is_cd or kind.is_floppy or bool(self.properties.get("removable"))
        return AttachedDevice(
            self.attached_name,
            removable=removable,
            tray_open=False if kind.is_cd or kind.is_floppy else None,
            io_status="ok" if kind.keeps_io_status else None,
        )

    def get(self, name: str) -> tuple[Any, str] | None:
        """A property and its type; None where there is none of this name."""
        if name == "type":
            return self.kind.name, "string"
        type_name = self.kind.properties.get(name)
        if type_name is None or name in ("id", "bus", "driver"):
            return None
        if name == "drive":
            backend = self.backend
            if backend is None:
                return "", type_name
            node = backend.node
            return backend.name or ("" if node is None else node.node_name), type_name
        return self.properties.get(name, DEFAULTS.get(type_name, 0)), type_name

    # Guest I/O

    async def read(self, offset: int, length: int) -> bytes:
        """The guest reads.

        :raises BlockIOError: it is told of a failure
        """
        return await self._request("read", "rd", length, lambda b: b.pread(offset, length))

    async def write(self, offset: int, data: bytes) -> None:
        """The guest writes.

        :raises BlockIOError: it is told of a failure
        """
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
    ) -> T:
        """Do a request as the error policy of the device has it: fail, pass over, or wait."""
        while True:
            backend = self.backend
            if backend is None:
                raise BlockIOError(errno.ENOMEDIUM)
            try:
                return await backend.counted(counted, length, request(backend))
            except BlockIOError as error:
                action = self._action(operation, error.errno)
                self._report(operation, action, error.errno)
                if action == "report":
                    raise
                if action == "ignore":
                    return None if operation == "write" else bytes(length)  # type: ignore[return-value]
                await self._hold(backend, error.errno)

    def _action(self, operation: str, code: int) -> str:
        name = "rerror" if operation == "read" else "werror"
        policy = self.properties.get(name, "auto")
        if policy == "auto" and self.backend is not None:
            policy = (self.backend.rerror if operation == "read" else self.backend.werror) or policy
        if policy == "auto":
            policy = _DEFAULT_ACTIONS[operation]
        if policy == "enospc":
            return "stop" if code == errno.ENOSPC else "report"
        return str(policy)

    def _report(self, operation: str, action: str, code: int) -> None:
        backend = self.backend
        data: dict[str, Any] = {
            "qom-path": self.path + self.kind.backend_path,
            "device": "" if backend is None else backend.name,
        }
        if backend is not None and backend.node is not None:
            data["node-name"] = backend.node.node_name
        data["operation"] = operation
        data["action"] = action
        if backend is not None and backend.device is not None and backend.device.io_status:
            data["nospace"] = code == errno.ENOSPC
        data["reason"] = os.strerror(code)
        self.machine.events.emit("BLOCK_IO_ERROR", data)

    async def _hold(self, backend: BlockBackend, code: int) -> None:
        """Stop the guest; the request is done again when it goes on."""
        if backend.device is not None and backend.device.io_status == "ok":
            backend.device.io_status = "nospace" if code == errno.ENOSPC else "failed"
        waiter = Waiter()
        self._held.append(waiter)
        self.machine.stop_for_io_error()
        await waiter

    def guest_runs(self) -> None:
        """The guest runs again: what was held is tried once more."""
        held, self._held = self._held, []
        for waiter in held:
            waiter.wake()

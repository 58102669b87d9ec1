"""Devices: what stands between a guest and a block backend."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.block.io.backend import AttachedDevice, BlockBackend
from qmpd.errors import BlockIOError
from qmpd.loop.clock import Waiter
from qmpd.machine.devices.kinds import KINDS, Kind
from qmpd.machine.devices.properties import DEFAULTS

if TYPE_CHECKING:
    from qmpd.machine.devices.bus import Bus
    from qmpd.machine.machine import Machine
    from qmpd.profile.devices import Property

T = TypeVar("T")

_DEFAULT_ACTIONS = {"read": "report", "write": "enospc"}
"""What `auto` means for reads and for all other requests."""


class Device:
    """One device.

    :param kind: its model
    :param device_id: its id; None for one without
    :param path: its place in the QOM tree
    :param hotplugged: whether the machine had been built before
    """

    def __init__(
        self,
        machine: Machine,
        kind: Kind,
        device_id: str | None,
        path: str,
        *,
        hotplugged: bool = False,
    ) -> None:
        self.machine = machine
        self.kind = kind
        self.id = device_id
        self.path = path
        self.hotplugged = hotplugged
        self.values: dict[str, Any] = {}
        """The properties that were set, and those that were settled when it was plugged in."""
        self.realized = False
        self.bus: Bus | None = None
        self.buses: list[Bus] = []
        """The buses that it brings, the newest first."""
        self.behind: Device | None = None
        """The device proper, where this one only stands in front."""
        self.backend: BlockBackend | None = None
        self.owns_backend = False
        """Whether the backend goes with it."""
        self.unplugging = False
        """Whether the guest has been asked to let go of it."""
        self._held: list[Waiter] = []
        if kind.behind is not None:
            self.behind = Device(
                machine,
                KINDS[kind.behind],
                None,
                f"{path}/virtio-backend",
                hotplugged=hotplugged,
            )

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.kind.name

    @property
    def properties(self) -> Mapping[str, Property]:
        """The properties that its model has in the machine's version of QEMU."""
        return self.machine.profile.devices.properties(self.kind.name)

    @property
    def devfn(self) -> int:
        """Slot and function of a PCI device."""
        number: int = self.values.get("addr", -1)
        return number

    @property
    def is_multifunction(self) -> bool:
        """Whether there may be other functions in its slot."""
        return bool(self.values.get("multifunction"))

    @property
    def parts(self) -> Iterator[Device]:
        """Itself and all that it is made of."""
        yield self
        if self.behind is not None:
            yield self.behind
        elif self.model == "usb-storage":
            for bus in self.buses:
                yield from bus.plugged

    @property
    def disk(self) -> Device:
        """The part of it that has the block backend: where a guest reads and writes."""
        return next((part for part in self.parts if part.backend is not None), self)

    @property
    def attached_name(self) -> str:
        """Its id, or its path: how queries and messages call it as a user of a backend."""
        return self.path if self.id is None else self.id

    @property
    def is_removable(self) -> bool:
        """Whether its medium can be taken out."""
        return self.kind.removable or bool(self.values.get("removable"))

    def attached(self) -> AttachedDevice:
        """What its backend knows of it."""
        stops = self.policy("read") == "stop" or self.policy("write") in ("stop", "enospc")
        return AttachedDevice(
            self.attached_name,
            removable=self.is_removable,
            tray_open=False if self.is_removable and self.kind.has_tray else None,
            io_status="ok" if self.kind.keeps_io_status and stops else None,
        )

    def get(self, name: str, default: Any = None) -> Any:
        """What a property of its own says; `default` where it has none of this name."""
        if name in self.values:
            return self.values[name]
        known = self.properties.get(name)
        if known is None:
            return default
        if name == "bootindex":
            return -1
        return DEFAULTS.get(known.type, "") if known.default is None else known.default

    def policy(self, operation: str) -> str:
        """What becomes of a `read` that fails, or of any other request (`write`).

        It is report, ignore, stop, or enospc: stop where there is no space, report all else.
        """
        if self.backend is not None and self.backend.reports_errors:
            return "report"
        name = "rerror" if operation == "read" else "werror"
        policy = self.get(name, "auto")
        if policy == "auto" and self.backend is not None:
            policy = (self.backend.rerror if operation == "read" else self.backend.werror) or policy
        return _DEFAULT_ACTIONS[operation] if policy == "auto" else str(policy)

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
        policy = self.policy(operation)
        if policy == "enospc":
            return "stop" if code == errno.ENOSPC else "report"
        return policy

    def _report(self, operation: str, action: str, code: int) -> None:
        backend = self.backend
        data: dict[str, Any] = {
            "qom-path": self.path,
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

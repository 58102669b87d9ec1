"""Devices with a block backend: the `drive`, its permissions and policies, removable media."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.block.backend import AttachedDevice, BlockBackend
from qmpd.block.permissions import ALL, CONSISTENT_READ, RESIZE, WRITE, WRITE_UNCHANGED
from qmpd.devices.device import Device
from qmpd.devices.guest_io import DEFAULT_POLICIES, GuestIO
from qmpd.devices.values import read_string
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.devices.qom import Listing
    from qmpd.machine import Machine


class BlockDevice(Device):
    """A device that has a `drive`."""

    has_tray: ClassVar[bool] = False
    keeps_io_status: ClassVar[bool] = True

    def __init__(
        self,
        machine: Machine,
        qom_type: str,
        listing: Listing = (),
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(machine, qom_type, listing, values)
        self.backend: BlockBackend | None = None
        self.owns_backend = False
        """Whether the backend was made for it, and goes with it."""
        self.io = GuestIO(self)
        self._attached = AttachedDevice("")

    # Guest I/O: see `GuestIO`

    async def read(self, offset: int, length: int) -> bytes:
        """The guest reads.

        :raises BlockIOError: it is told of a failure
        """
        return await self.io.read(offset, length)

    async def write(self, offset: int, data: bytes) -> None:
        """The guest writes; see `read`."""
        await self.io.write(offset, data)

    async def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """The guest writes zeroes; see `read`."""
        await self.io.write_zeroes(offset, length, unmap=unmap)

    async def discard(self, offset: int, length: int) -> None:
        """The guest discards; see `read`."""
        await self.io.discard(offset, length)

    async def flush(self) -> None:
        """The guest flushes; see `read`."""
        await self.io.flush()

    @property
    def block_device(self) -> BlockDevice | None:
        """See `Device.block_device`."""
        return self

    # The drive

    def get_property(self, name: str) -> Any:
        """See `QomObject.get_property`."""
        if name != "drive":
            return super().get_property(name)
        if self.backend is None:
            return ""
        node = self.backend.node
        return self.backend.name or ("" if node is None else node.node_name)

    def assign(self, name: str, value: Any, *, keyval: bool) -> None:
        """See `Device.assign`: another node can take the place of the medium at any time."""
        if name != "drive":
            super().assign(name, value, keyval=keyval)
            return
        drive = read_string(name, value)
        if self.backend is not None:
            self._replace(drive)
        elif drive:
            self._find(drive)

    def _find(self, drive: str) -> None:
        graph = self.machine.graph
        backend = graph.backends.get(drive)
        if backend is None:
            node = graph.find_node(drive)
            if node is None:
                raise GenericError(
                    f"Property '{self.qom_type}.drive' can't find value '{drive}'"
                )
            backend = BlockBackend(graph, "", node)
            self.owns_backend = True
        elif backend.device is not None:
            why = "by another device"
            if self.machine.devices.is_automatic(backend):
                why = (
                    "because it has been automatically connected to another device (did you need"
                    " 'if=none' in the drive options?)"
                )
            raise GenericError(f"Drive '{drive}' is already in use {why}")
        self.take(backend)

    def take(self, backend: BlockBackend) -> None:
        """Have `backend` as its drive."""
        self.backend = backend
        self._attached = AttachedDevice(self.attached_name)
        backend.attach_device(self._attached)

    @property
    def attached_name(self) -> str:
        """How queries call it as the user of a backend: its id, else its path."""
        return self.path if self.id is None else self.id

    @property
    def is_removable(self) -> bool:
        """Whether its medium can be taken out."""
        return False

    @property
    def shows_io_status(self) -> bool:
        """Whether it keeps an I/O status: only where some error may stop the machine."""
        if not self.keeps_io_status:
            return False
        return self.policy("read") == "stop" or self.policy("write") in ("stop", "enospc")

    def _replace(self, drive: str) -> None:
        """Another node takes the place of the medium.

        :raises GenericError: there is no such node, or its parents object
        """
        backend = self.backend
        assert backend is not None
        graph = self.machine.graph
        node = graph.lookup_device_or_node(None, drive)
        backend.replace_node(node)

    # Life

    def policy(self, operation: str) -> str:
        """What happens when a read (or anything else: write) fails; see `guest_io`."""
        name = "rerror" if operation == "read" else "werror"
        policy = str(self.given.get(name, "auto"))
        if policy == "auto" and self.backend is not None:
            of_drive = self.backend.rerror if operation == "read" else self.backend.werror
            policy = of_drive or policy
        return DEFAULT_POLICIES[operation] if policy == "auto" else policy

    def make_empty_backend(self) -> None:
        """Have an empty drive of its own."""
        self.owns_backend = True
        self.take(BlockBackend(self.machine.graph, ""))

    def require_drive(self, text: str = "drive property not set") -> BlockBackend:
        """The backend.

        :raises GenericError: none was given
        """
        if self.backend is None:
            raise GenericError(text)
        return self.backend

    @staticmethod
    def require_medium(backend: BlockBackend) -> None:
        """Refuse an empty drive.

        :raises GenericError: it is empty
        """
        if backend.node is None:
            raise GenericError("Device needs media, but drive is empty")

    @staticmethod
    def is_read_only(backend: BlockBackend) -> bool:
        """Whether the guest cannot write."""
        return backend.read_only if backend.node is None else backend.node.read_only

    def apply_options(self, *, read_only: bool, resizable: bool) -> None:
        """Take the permissions that it needs; settle cache mode, counting, and what queries tell.

        :param resizable: whether others may resize the medium
        :raises GenericError: the node's other users object
        """
        backend = self.require_drive()
        perm = CONSISTENT_READ | (0 if read_only else WRITE)
        shared = CONSISTENT_READ | WRITE_UNCHANGED | (RESIZE if resizable else 0)
        if self.given.get("share-rw"):
            shared |= WRITE
        backend.set_permissions(perm, shared)
        cache = self.given.get("write-cache", "auto")
        if cache != "auto":
            backend.enable_write_cache = cache == "on"
        for name in ("account_invalid", "account_failed"):
            wanted = self.given.get(name.replace("_", "-"), "auto")
            if wanted != "auto":
                setattr(backend.stats, name, wanted == "on")
        attached = self._attached
        attached.removable = backend.removable = self.is_removable
        attached.tray_open = False if self.is_removable and self.has_tray else None
        attached.io_status = "ok" if self.shows_io_status else None

    def release_backend(self) -> None:
        """Give the backend back; one of its own is closed when nothing is under way."""
        backend, self.backend = self.backend, None
        if backend is None:
            return
        backend.detach_device()
        if self.owns_backend:
            graph = self.machine.graph
            node = backend.remove_node()
            graph.forget_backend(backend)
            if node is not None:
                graph.clock.enter(graph.unref(node), "unref")
        else:
            backend.set_permissions(0, ALL)

    async def unrealize(self) -> None:
        """See `Device.unrealize`."""
        backend = self.backend
        if backend is not None and backend.node is not None:
            node = backend.node
            await self.machine.graph.drained_begin(node)
            self.machine.graph.drained_end(node)
        self.release_backend()

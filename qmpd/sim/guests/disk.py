"""A guest's requests to a disk, as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import ALL, NOTHING, WRITE, Perm
from qmpd.errors import GenericError, QmpError
from qmpd.machine.devices.guest_io import ACCOUNTED_AS, guest_request
from qmpd.sim.names import backend_called

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.sim.bench import Bench


T = TypeVar("T")


class MapEntry(NamedTuple):
    """An area of a disk, with the members of ``qemu-img map --output=json``.

    `start` and `length` are in bytes.  `depth` is the image that holds the area: 0 for the disk's
    own, 1 for its backing file, ...  `present`: some image holds it.  `zero`: it reads as zeroes.
    `data`: bytes are stored for it.  `offset` is where these lie in the image's file, None where
    that cannot be told.
    """

    start: int
    length: int
    depth: int
    present: bool
    zero: bool
    data: bool
    offset: int | None


class GuestDisk:
    """Requests to the disk of a backend, a device or a node, whichever has the name.

    :raises LookupError: there is no such disk (raised by each request)
    """

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self.name = name

    @asynccontextmanager
    async def _backend(self, perm: Perm = NOTHING) -> AsyncIterator[BlockBackend]:
        """What requests go through; a node without a backend gets one for the time being."""
        self._bench.require_open()
        graph = self._bench.machine.graph
        backend = backend_called(self._bench.machine, self.name)
        if backend is not None:
            backend.require(perm)
            yield backend
            return
        node = graph.find_node(self.name)
        if node is None:
            names = [*graph.backends, *(node.node_name for node in graph.nodes())]
            known = ", ".join(sorted(set(names))) or "none"
            raise LookupError(f"there is no disk '{self.name}' (disks and nodes: {known})")
        backend = await BlockBackend.on(node, perm=perm, shared=ALL, force_allow_inactivate=True)
        try:
            yield backend
        finally:
            await backend.close()

    async def _request(
        self,
        backend: BlockBackend,
        operation: str,
        offset: int,
        length: int,
        request: Callable[[BlockBackend], Coroutine[Any, Any, T]],
    ) -> T | None:
        """Do a request; where a device is on the backend, by its error policy (`rerror`, `werror`).

        :returns: its result; None for a failure that the device ignores
        """
        said: dict[str, Any] = {
            "disk": self.name,
            "operation": operation,
            "offset": offset,
            "length": length,
        }
        self._bench.note("guest", **said)
        try:
            return await self._do(backend, operation, length, request)
        except QmpError as error:
            self._bench.note("guest", **said, error=error.desc)
            raise

    async def _do(
        self,
        backend: BlockBackend,
        operation: str,
        length: int,
        request: Callable[[BlockBackend], Coroutine[Any, Any, T]],
    ) -> T | None:
        machine = self._bench.machine
        for device in machine.devices.parts():
            if device.backend is backend:
                return await guest_request(machine, device, operation, length, request)
        return await backend.counted(ACCOUNTED_AS[operation], length, request(backend))

    async def read(self, offset: int, length: int) -> bytes:
        """Read bytes.

        :raises BlockIOError: the read fails, or goes beyond the end (EIO)
        """
        async with self._backend() as backend:
            data = await self._request(
                backend, "read", offset, length, lambda b: b.pread(offset, length)
            )
            return bytes(length) if data is None else data

    async def write(self, offset: int, data: bytes, *, fua: bool) -> None:
        """Write bytes.

        :param fua: they are to be durable when the write has ended
        :raises BlockIOError: the write fails, or goes beyond the end (EIO)
        """
        async with self._backend(WRITE) as backend:
            await self._request(
                backend, "write", offset, len(data), lambda b: b.pwrite(offset, data, fua=fua)
            )

    async def write_zeroes(self, offset: int, length: int, *, unmap: bool) -> None:
        """Write zeroes without sending them.

        :param unmap: whether their storage may be freed
        """
        async with self._backend(WRITE) as backend:
            await self._request(
                backend,
                "write_zeroes",
                offset,
                length,
                lambda b: b.pwrite_zeroes(offset, length, may_unmap=unmap),
            )

    async def discard(self, offset: int, length: int) -> None:
        """Say that the content of an area is no longer needed."""
        async with self._backend(WRITE) as backend:
            await self._request(
                backend, "discard", offset, length, lambda b: b.pdiscard(offset, length)
            )

    async def flush(self) -> None:
        """Make everything written so far durable."""
        async with self._backend() as backend:
            await self._request(backend, "flush", 0, 0, lambda b: b.flush())

    def _node(self) -> Node:
        graph = self._bench.machine.graph
        backend = backend_called(self._bench.machine, self.name)
        node = graph.find_node(self.name) if backend is None else backend.node
        if node is None:
            raise LookupError(f"there is no disk '{self.name}', or no medium in it")
        return node

    def size(self) -> int:
        """Size of the disk in bytes."""
        self._bench.require_open()
        return self._node().length

    async def map(self) -> list[MapEntry]:
        """What holds each area of the disk, from its start to its end."""
        self._bench.require_open()
        node = self._node()
        entries: list[MapEntry] = []
        offset, end = 0, node.length
        while offset < end:
            entry = await _map_at(node, offset, end - offset)
            if entry.length <= 0:
                raise GenericError(f"'{self.name}' does not say what is at {offset}")
            last = entries[-1] if entries else None
            if last is not None and _continues(last, entry):
                entries[-1] = last._replace(length=last.length + entry.length)
            else:
                entries.append(entry)
            offset += entry.length
        return entries


async def _map_at(node: Node, start: int, length: int) -> MapEntry:
    """The area that begins at `start`, which is at most `length` bytes long."""
    depth = 0
    while True:
        status = await node.block_status(start, length)
        below = node.filter_or_backing
        if status.length:
            length = min(length, status.length)
        if status.allocated or below is None or not status.length:
            offset = status.offset if status.data else None
            present = status.allocated
            return MapEntry(start, length, depth, present, status.zero, status.data, offset)
        if not node.driver_class.shape.is_filter:
            depth += 1
        node = below


def _continues(last: MapEntry, entry: MapEntry) -> bool:
    """Whether two areas, one after the other, are alike."""
    if last[2:6] != entry[2:6]:
        return False
    if last.offset is None or entry.offset is None:
        return last.offset is entry.offset
    return last.offset + last.length == entry.offset


def all_disks(bench: Bench) -> dict[str, int]:
    """The sizes of all disks that a guest can use: backends with a medium, and unused nodes."""
    bench.require_open()
    graph = bench.machine.graph
    sizes = {
        name: backend.node.length
        for name, backend in graph.backends.items()
        if backend.node is not None
    }
    sizes.update((node.node_name, node.length) for node in graph.nodes() if not node.parents)
    return dict(sorted(sizes.items()))

"""Nodes for testing the image code by itself: a file, and a node with children on top."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from qmpd.block.bits.bitmaps import Bitmaps
from qmpd.block.drivers.formats.qcow2.bitmaps.store import store_bitmaps
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_host_offset
from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.resize import truncate
from qmpd.block.drivers.formats.qcow2.creation.create import complete_image, write_first_clusters
from qmpd.block.drivers.formats.qcow2.creation.options import check_create_options
from qmpd.block.drivers.formats.qcow2.opening import open_image
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.drivers.formats.qcow2.tables.entries import READS_AS_ZERO, UNALLOCATED
from qmpd.block.manners import USUAL
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.flags import NodeFlags
from qmpd.block.model.traits import Capabilities
from qmpd.errors import BlockIOError
from qmpd.loop.clock import VirtualClock


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine waits")


class FileDriver:
    capabilities = Capabilities(write_zeroes=True)

    def allocated_size(self) -> int | None:
        return None


class FileNode:
    """A host file; remembers the clusters that were written, in `log`."""

    request_alignment = 1
    read_only = False
    primary = None
    wr_highest_offset = 0

    def __init__(self, path: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if create else 0)
        self.fd = os.open(path, flags, 0o600)
        self.log: list[tuple[int, int]] = []
        self.fail: Callable[[str, int, int], bool] | None = None
        self.driver = FileDriver()

    @property
    def length(self) -> int:
        return os.fstat(self.fd).st_size

    def debug_event(self, name: str) -> None:
        pass

    def _check(self, what: str, offset: int, length: int) -> None:
        if self.fail is not None and self.fail(what, offset, length):
            raise BlockIOError(errno.EIO)
        if offset < 0 or offset + length >= 1 << 63:
            raise BlockIOError(errno.EIO)

    async def pread(self, offset: int, length: int) -> bytes:
        self._check("read", offset, length)
        if offset >= self.length:
            return bytes(length)
        return os.pread(self.fd, length, offset).ljust(length, b"\0")

    async def pwrite(self, offset: int, data: bytes) -> None:
        self._check("write", offset, len(data))
        self.log.append((offset, len(data)))
        try:
            os.pwrite(self.fd, data, offset)
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO) from error

    async def pwrite_zeroes(
        self, offset: int, length: int, *, may_unmap: bool = False, no_fallback: bool = False
    ) -> None:
        self._check("write", offset, length)
        self.log.append((offset, length))
        os.pwrite(self.fd, bytes(length), offset)

    async def pdiscard(self, offset: int, length: int) -> None:
        os.pwrite(self.fd, bytes(min(length, max(0, self.length - offset))), offset)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        os.ftruncate(self.fd, size)

    async def flush(self) -> None:
        self._check("flush", 0, 0)

    def close(self) -> None:
        os.close(self.fd)


class Edge:
    def __init__(self, node: Any) -> None:
        self.node = node


class Services:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.say = SimpleNamespace(complain=lambda text: None)
        self.loop = VirtualClock()

    def emit(self, name: str, data: dict[str, Any]) -> None:
        self.events.append((name, data))


class Graph:
    """A graph that nobody reads: its write lock is there for the taking."""

    drains = 0
    readers: tuple[()] = ()
    services = SimpleNamespace(loop=SimpleNamespace(has_bottom_halves=False), manners=USUAL)


class ImageNode:
    """What the image code needs of its own node, and what a node does around a driver."""

    def __init__(self, file: FileNode, *, read_only: bool = False, backing: Any = None) -> None:
        self.children = {"file": Edge(file)}
        if backing is not None:
            self.children["backing"] = Edge(backing)
        self.graph = Graph()
        self.services = Services()
        self.flags = NodeFlags(read_only=read_only)
        self.active = True
        self.node_name = "img"
        self.device_name = ""
        self.device_or_node_name = "img"
        self.filename = "img.qcow2"
        self.bitmaps = Bitmaps()
        self.state: Qcow2State | None = None
        self.layer = None

    @property
    def read_only(self) -> bool:
        return self.flags.read_only

    @property
    def driver(self) -> Any:
        return self

    @property
    def length(self) -> int:
        assert self.state is not None
        return self.state.size

    async def pread(self, offset: int, length: int) -> bytes:
        assert self.state is not None
        return await read_clusters(self.state, offset, length)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        assert self.state is not None
        await truncate(self.state, size, exact=exact, prealloc=prealloc)

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """As `Qcow2.block_status` has it; there is nothing below."""
        assert self.state is not None
        length = min(length, self.length - offset)
        if length <= 0:
            return BlockStatus(0, data=False, zero=True, allocated=False)
        kind, _, count = await get_host_offset(self.state, offset, length)
        zero = kind in READS_AS_ZERO or kind in UNALLOCATED
        return BlockStatus(count, data=not zero, zero=zero, allocated=kind not in UNALLOCATED)


def open_node(
    path: Path, options: dict[str, Any] | None = None, *, unmap: bool = False, **kwargs: Any
) -> Qcow2State:
    node = ImageNode(FileNode(path), **kwargs)
    state: Qcow2State = run(open_image(node, options or {}, unmap=unmap))  # type: ignore[arg-type]
    node.state = state
    return state


def host_file(s: Qcow2State) -> FileNode:
    """The host file below an image that `open_node` has opened."""
    file: object = s.file
    assert isinstance(file, FileNode)
    return file


def close(s: Qcow2State) -> None:
    """What closing a driver does."""
    if s.writable and not s.unusable:
        run(store_bitmaps(s, release=True))
        run(s.l2_cache.flush())
        run(s.refcount_cache.flush())
        run(s.mark_clean())
    host_file(s).close()


def create(path: Path, **options: Any) -> None:
    checked = check_create_options({k.replace("_", "-"): v for k, v in options.items()})
    file = FileNode(path, create=True)
    run(write_first_clusters(file, checked))  # type: ignore[arg-type]
    node = ImageNode(file)
    s = run(open_image(node, {}, unmap=False))  # type: ignore[arg-type]
    node.state = s
    run(complete_image(s, checked, None))
    close(s)

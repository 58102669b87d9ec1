"""A block backend: what stands between a device (or a monitor's I/O) and a node."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.block.node import Edge, Node
from qmpd.block.stats import BlockAcctStats
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.graph import Graph


class BlockBackend:
    """Guest I/O on a root node, with its bounds checked and counted.

    :param name: its name, "" for an anonymous one
    :param node: what it stands on; None for an empty drive
    """

    def __init__(self, graph: Graph, name: str, node: Node | None = None) -> None:
        self.graph = graph
        self.name = name
        self.device_id: str | None = None
        self.removable = True
        self.stats = BlockAcctStats(graph.clock.now)
        self.root: Edge | None = None
        if node is not None:
            self.insert_node(node)

    @property
    def node(self) -> Node | None:
        """The root node."""
        return None if self.root is None else self.root.node

    def insert_node(self, node: Node) -> None:
        """Put `node` into the empty backend."""
        self.root = Edge("root", self, node)
        node.parents.append(self.root)

    def remove_node(self) -> Node | None:
        """Take the root node out, without closing it."""
        if self.root is None:
            return None
        node = self.root.node
        node.parents.remove(self.root)
        self.root = None
        return node

    async def close(self) -> None:
        """Take the root out and close it if nothing else holds it; forget a named backend."""
        node = self.remove_node()
        if self.graph.backends.get(self.name) is self:
            del self.graph.backends[self.name]
        if node is not None:
            await self.graph.unref(node)

    def require_write(self) -> None:
        """Refuse to write where the root cannot be written.

        :raises GenericError: it is read-only
        """
        if self.node is not None and self.node.read_only:
            raise GenericError("Block node is read-only")

    def length(self) -> int:
        """Length of the medium, bytes.

        :raises BlockIOError: there is none
        """
        return self._medium().length

    async def pread(self, offset: int, length: int) -> bytes:
        """Read inside the medium.

        :raises BlockIOError: EIO outside, ENOMEDIUM without one, or the node's failure
        """
        return await self._checked(offset, length).pread(offset, length)

    async def pwrite(self, offset: int, data: bytes, *, fua: bool = False) -> None:
        """Write inside the medium."""
        await self._checked(offset, len(data)).pwrite(offset, data, fua=fua)

    async def pwrite_compressed(self, offset: int, data: bytes) -> None:
        """Write compressed."""
        await self._checked(offset, len(data)).pwrite_compressed(offset, data)

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        fua: bool = False,
        no_fallback: bool = False,
    ) -> None:
        """Write zeroes; see `Node.pwrite_zeroes`."""
        await self._checked(offset, length).pwrite_zeroes(
            offset, length, may_unmap=may_unmap, fua=fua, no_fallback=no_fallback
        )

    async def pdiscard(self, offset: int, length: int) -> None:
        """Discard inside the medium."""
        await self._checked(offset, length).pdiscard(offset, length)

    async def flush(self) -> None:
        """Flush the medium."""
        await self._medium().flush()

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the medium's length."""
        if self.node is None:
            raise BlockIOError(errno.ENOMEDIUM, "No medium inserted")
        await self.node.truncate(size, exact=exact, prealloc=prealloc)

    def account_done(self, kind: str, length: int, duration: int) -> None:
        """Count a request that succeeded: `kind` rd, wr, flush or unmap; nanoseconds."""
        self.stats.done(kind, length, duration)

    def account_failed(self, kind: str, duration: int) -> None:
        """Count a request that failed."""
        self.stats.failed(kind, duration)

    def account_invalid(self, kind: str) -> None:
        """Count a request that was malformed."""
        self.stats.invalid(kind)

    def _medium(self) -> Node:
        if self.root is None:
            raise BlockIOError(errno.ENOMEDIUM)
        return self.root.node

    def _checked(self, offset: int, length: int) -> Node:
        node = self._medium()
        if offset < 0 or offset + length > node.length:
            raise BlockIOError(errno.EIO)
        return node

"""The requests of a block backend: each waits until it may begin, and stays inside the medium."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING

from qmpd.block.io.aio import AioRequests
from qmpd.block.io.in_loop import InLoop
from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.model.aio_context import AioContext
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.block.permission_bits import Perm
    from qmpd.block.throttle.group import ThrottleMember


class Requests(InLoop):
    """Reads and writes of the root node.

    :param queues: whether requests wait while the node is drained; not those of a job, which
        pauses once they have ended; other parameters as of `InLoop`
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        *,
        perm: Perm,
        shared: Perm,
        force_allow_inactivate: bool,
        queues: bool,
        context: AioContext,
    ) -> None:
        super().__init__(
            graph,
            name,
            perm=perm,
            shared=shared,
            force_allow_inactivate=force_allow_inactivate,
            context=context,
        )
        self.enable_write_cache = True
        self.quiesce_counter = 0
        self.throttle: ThrottleMember | None = None
        """What holds its requests up, where there are limits."""
        self._queues = queues
        self._queue: deque[Waiter] = deque()
        self._aio: AioRequests | None = None

    @property
    def node(self) -> Node | None:
        """The root node."""
        return None if self.root is None else self.root.node

    @property
    def straight(self) -> Node | None:
        """The root node, where requests reach it as they are and need not wait."""
        if self.quiesce_counter or self.throttle is not None or not self.enable_write_cache:
            return None
        return self.node

    # Drained sections

    def drained_begin(self) -> None:
        """Let no new request begin until `drained_end`; these calls are counted."""
        self.quiesce_counter += 1
        if self.throttle is not None and self.quiesce_counter == 1:
            self.throttle.drained_begin()

    def drained_poll(self) -> Waiter | None:
        """Those of `aio`; all other requests under way are counted by the nodes."""
        return None if self._aio is None else self._aio.poll()

    def drained_end(self) -> None:
        """Undo one `drained_begin`; what has waited goes on."""
        self.quiesce_counter -= 1
        if self.throttle is not None and not self.quiesce_counter:
            self.throttle.drained_end()
        while self._queue and not self.quiesce_counter:
            self._queue.popleft().wake()

    # Requests

    async def _admit(self, length: int, *, is_write: bool) -> None:
        """Wait until a request may go."""
        if self.quiesce_counter:
            await self.wait_while_drained()
        if self.throttle is not None:
            await self.throttle.intercept(length, is_write=is_write)

    def length(self) -> int:
        """Length of the medium, bytes.

        :raises BlockIOError: there is none
        """
        node = self._medium()
        if node.driver.gone:
            raise BlockIOError(errno.ENOMEDIUM)
        return node.length

    async def pread(self, offset: int, length: int) -> bytes:
        """Read inside the medium.

        :raises BlockIOError: EIO outside, ENOMEDIUM without one, or the node's failure
        """
        if self.quiesce_counter or self.throttle is not None:
            await self._admit(length, is_write=False)
        return await self._checked(offset, length).pread(offset, length)

    async def admit_read(self, offset: int, length: int) -> Node:
        """Wait until a read may begin, and return the node that it goes to; raises as `pread`."""
        await self._admit(length, is_write=False)
        return self._checked(offset, length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write inside the medium."""
        if self.quiesce_counter or self.throttle is not None:
            await self._admit(len(data), is_write=True)
        fua = fua or not self.enable_write_cache
        await self._checked(offset, len(data)).pwrite(offset, data, fua=fua)

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """Write compressed."""
        if self.quiesce_counter or self.throttle is not None:
            await self._admit(len(data), is_write=True)
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
        if self.quiesce_counter or self.throttle is not None:
            await self._admit(length, is_write=True)
        fua = fua or not self.enable_write_cache
        await self._checked(offset, length).pwrite_zeroes(
            offset,
            length,
            may_unmap=may_unmap,
            fua=fua,
            no_fallback=no_fallback,
            of_backend=True,
        )

    async def pdiscard(self, offset: int, length: int) -> None:
        """Discard inside the medium."""
        if self.quiesce_counter or self.throttle is not None:
            await self._admit(length, is_write=True)
        await self._checked(offset, length).pdiscard(offset, length)

    async def flush(self) -> None:
        """Flush the medium."""
        if self.quiesce_counter:
            await self.wait_while_drained()
        await self._medium().flush()

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the medium's length."""
        if self.node is None:
            raise BlockIOError(errno.ENOMEDIUM, "No medium inserted")
        await self.node.truncate(size, exact=exact, prealloc=prealloc)

    @property
    def aio(self) -> AioRequests:
        """Its requests that nobody waits for."""
        if self._aio is None:
            self._aio = AioRequests(self.graph.services.loop, self)
        return self._aio

    async def wait_while_drained(self) -> None:
        """Wait until requests may begin (``blk_wait_while_drained``)."""
        while self.quiesce_counter and self._queues:
            waiter = Waiter()
            self._queue.append(waiter)
            await waiter

    def _medium(self) -> Node:
        if self.root is None:
            raise BlockIOError(errno.ENOMEDIUM)
        return self.root.node

    def _checked(self, offset: int, length: int) -> Node:
        node = self._medium()
        if offset < 0 or offset + length > node.length:
            raise BlockIOError(errno.ENOMEDIUM if node.driver.gone and offset >= 0 else errno.EIO)
        return node

"""A block backend: what stands between a device (or a monitor's I/O) and a node."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from qmpd.block.change.aio_context import come_together, go_home
from qmpd.block.change.closing import unref
from qmpd.block.change.drain import drain, drained_begin, drained_end
from qmpd.block.change.edges import add_parent, remove_parent
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.change.replace import GraphChange
from qmpd.block.io.accounting import Accounting
from qmpd.block.io.aio import AioRequests
from qmpd.block.io.in_loop import InLoop
from qmpd.block.model.node import Edge, Node
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.block.permission_bits import ALL, NOTHING, PRIMARY, Perm
from qmpd.block.throttle.group import ThrottleMember
from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.io.device_ops import DriveInfo
    from qmpd.block.model.aio_context import AioContext
    from qmpd.block.model.graph import Graph


class BlockBackend(InLoop, Accounting):
    """Guest I/O on a root node, with its bounds checked and counted.

    It is empty until `insert_node`.

    :param name: its name, "" for a nameless one
    :param perm: permissions it uses, see `qmpd.block.permission_bits`
    :param shared: permissions it lets others use
    :param drive_info: the ``-drive`` that it is made for
    :param read_only: whether a medium put in is opened read-only unless it is said otherwise
    :param force_allow_inactivate: whether its node may be inactive although it is written, and
        nothing says that a device does so
    :param queues: whether requests wait while the node is drained; not those of a job, which
        pauses once they have ended
    :param context: the loop that it works in, to which a node comes that is put in
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        *,
        perm: Perm = NOTHING,
        shared: Perm = ALL,
        drive_info: DriveInfo | None = None,
        read_only: bool = False,
        force_allow_inactivate: bool = False,
        queues: bool = True,
        context: AioContext = None,
    ) -> None:
        InLoop.__init__(
            self,
            graph,
            name,
            perm=perm,
            shared=shared,
            force_allow_inactivate=force_allow_inactivate,
            context=context,
        )
        Accounting.__init__(self, graph.services.clocks)
        self.drive_info = drive_info
        self.enable_write_cache = True
        self.quiesce_counter = 0
        self.read_only = read_only
        self.throttle: ThrottleMember | None = None
        """What holds its requests up, where there are limits."""
        self.on_remove: list[Callable[[], Awaitable[None]]] = []
        """Called before the root node is taken out (``blk_add_remove_bs_notifier``)."""
        self._queues = queues
        self._queue: deque[Waiter] = deque()
        self._aio: AioRequests | None = None
        graph.add_backend(self)

    @classmethod
    async def on(
        cls,
        node: Node,
        *,
        name: str = "",
        perm: Perm = NOTHING,
        shared: Perm = ALL,
        queues: bool = True,
        force_allow_inactivate: bool = False,
    ) -> BlockBackend:
        """A backend on `node`, in its loop (``blk_new_with_bs``); parameters as of the constructor.

        :raises GenericError: the node's other parents object
        """
        return await cls.in_context(
            node.aio_context,
            node,
            name=name,
            perm=perm,
            shared=shared,
            queues=queues,
            force_allow_inactivate=force_allow_inactivate,
        )

    @classmethod
    async def in_context(
        cls,
        context: AioContext,
        node: Node,
        *,
        name: str = "",
        perm: Perm = NOTHING,
        shared: Perm = ALL,
        queues: bool = True,
        force_allow_inactivate: bool = False,
    ) -> BlockBackend:
        """A backend that works in `context`, with `node` in it; parameters as of the constructor.

        :raises GenericError: the node's other parents object
        """
        backend = cls(
            node.graph,
            name,
            perm=perm,
            shared=shared,
            queues=queues,
            force_allow_inactivate=force_allow_inactivate,
            context=context,
        )
        try:
            await backend.insert_node(node)
        except BaseException:
            await backend.close()
            raise
        return backend

    @property
    def node(self) -> Node | None:
        """The root node."""
        return None if self.root is None else self.root.node

    @property
    def user_description(self) -> str:
        """How permission conflicts call this backend as somebody's parent."""
        name = self.name or self.device_id
        return f"block device '{name}'" if name else "an unnamed block device"

    @property
    def brief_description(self) -> str:
        """How they called it before they told both sides."""
        return self.name or self.device_id or "a block device"

    @property
    def straight(self) -> Node | None:
        """The root node, where requests reach it as they are and need not wait."""
        if self.quiesce_counter or self.throttle is not None or not self.enable_write_cache:
            return None
        return self.node

    async def insert_node(self, node: Node) -> None:
        """Put `node` into the empty backend (``blk_insert_bs``).

        :raises GenericError: the node's other parents object
        """
        async with write_lock(self.graph):
            self._attach(node)

    def _attach(self, node: Node) -> None:
        perm, shared = self.permissions_on(node)
        root = Edge("root", CHILD_ROOT, node, user=self, role=PRIMARY, perm=perm, shared=shared)
        part = come_together(root)
        add_parent(root)
        try:
            refresh_permissions(node)
        except BaseException:
            remove_parent(root)
            part()
            raise
        self.root = root

    async def replace_node(self, node: Node) -> None:
        """Let `node` take the place of the root node (``blk_replace_bs``).

        :raises GenericError: the node's other parents object; nothing has changed then
        """
        root = self.root
        assert root is not None
        before = root.node
        await drained_begin(before)
        await drained_begin(node)
        change = GraphChange()
        try:
            async with write_lock(self.graph, brief=True):
                change.move(root, node)
                change.settle()
        finally:
            drained_end(before)
            drained_end(node)
        await change.commit()

    async def remove_node(self) -> None:
        """Take the root node out; it is closed if nothing else holds it (``blk_remove_bs``)."""
        for notify in list(self.on_remove):
            await notify()
        if self.throttle is not None:
            await self.drain()
        if self.root is not None:
            self.read_only = self.root.node.read_only
        await self.drain()
        async with standstill(self.graph):
            async with write_lock(self.graph):
                node = self._detach()
                if node is not None:
                    await go_home(node)
            if node is not None:
                await unref(node)

    def _detach(self) -> Node | None:
        if self.root is None:
            return None
        node = self.root.node
        remove_parent(self.root)
        self.root = None
        loosen_permissions(node)
        return node

    async def close(self) -> None:
        """Take the root node out, if there is one, and forget the backend (``blk_unref``).

        The node is closed if nothing else holds it.
        """
        await self.drain()
        await self.lift_io_limits()
        if self.root is not None:
            await self.remove_node()
        self.graph.forget_backend(self)

    async def drain(self) -> None:
        """Let all requests under way end (``blk_drain``)."""
        if self.root is not None and not self._is_still(self.root.node):
            await drain(self.root.node)

    def _is_still(self, node: Node) -> bool:
        """Whether nobody would notice that `node`, its root, is drained."""
        return (
            len(node.parents) == 1
            and not node.in_flight
            and self._aio is None
            and self.throttle is None
            and not self._queue
            and not node.driver.capabilities.hears_drains
        )

    def node_resized(self) -> None:
        """Tell the device or export (``blk_root_resize``)."""
        if self.dev_ops is not None:
            self.dev_ops.resized()

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

    # Limits

    async def lift_io_limits(self) -> None:
        """Be under no limits any more (``blk_io_limits_disable``)."""
        if self.throttle is None:
            return
        node = self.node
        if node is not None:
            await drained_begin(node)
        member, self.throttle = self.throttle, None
        member.leave()
        self.graph.throttle_groups.drop_unused(member.group)
        if node is not None:
            drained_end(node)

    async def _admit(self, length: int, *, is_write: bool) -> None:
        """Wait until a request may go."""
        if self.quiesce_counter:
            await self.wait_while_drained()
        if self.throttle is not None:
            await self.throttle.intercept(length, is_write=is_write)

    # Requests

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

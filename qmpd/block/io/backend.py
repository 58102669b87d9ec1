"""A block backend: what stands between a device (or a monitor's I/O) and a node."""

from __future__ import annotations

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
from qmpd.block.io.requests import Requests
from qmpd.block.model.node import Edge, Node
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.block.permission_bits import ALL, NOTHING, PRIMARY, Perm

if TYPE_CHECKING:
    from qmpd.block.io.device_ops import DriveInfo
    from qmpd.block.model.aio_context import AioContext
    from qmpd.block.model.graph import Graph


class BlockBackend(Requests, Accounting):
    """Guest I/O on a root node, with its bounds checked and counted.

    It is empty until `insert_node`.

    :param name: its name, "" for a nameless one
    :param perm: permissions it uses, see `qmpd.block.permission_bits`
    :param shared: permissions it lets others use
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
        read_only: bool = False,
        force_allow_inactivate: bool = False,
        queues: bool = True,
        context: AioContext = None,
    ) -> None:
        Requests.__init__(
            self,
            graph,
            name,
            perm=perm,
            shared=shared,
            force_allow_inactivate=force_allow_inactivate,
            queues=queues,
            context=context,
        )
        Accounting.__init__(self, graph.services.clocks)
        self.drive_info: DriveInfo | None = None
        """The ``-drive`` that it was made for."""
        self.read_only = read_only
        self.on_remove: list[Callable[[], Awaitable[None]]] = []
        """Called before the root node is taken out (``blk_add_remove_bs_notifier``)."""
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
    def user_description(self) -> str:
        """How permission conflicts call this backend as somebody's parent."""
        name = self.name or self.device_id
        return f"block device '{name}'" if name else "an unnamed block device"

    @property
    def brief_description(self) -> str:
        """How they called it before they told both sides."""
        return self.name or self.device_id or "a block device"

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

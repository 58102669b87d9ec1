"""The block graph of one machine: its nodes, backends, and what changes them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.base.identifiers import NameGenerator, check_node_name
from qmpd.block.change import drain, replace
from qmpd.block.change.opening import child_options, open_node
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.stats import HARNESS_LATENCY, BlockAcctStats
from qmpd.block.io.throttle_group import ThrottleGroups
from qmpd.block.model.blockers import Op
from qmpd.block.model.node import Node
from qmpd.block.permission_bits import RESIZE
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.change.replace import GraphChange
    from qmpd.block.model.services import Services

T = TypeVar("T")


class Graph:
    """All nodes and backends.

    :param services: its surroundings
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.throttle_groups = ThrottleGroups(services.clocks.accounting)
        self.backends: dict[str, BlockBackend] = {}
        """The named backends, the oldest first."""
        self.all_backends: list[BlockBackend] = []
        """All backends, nameless ones too, the oldest first."""
        self.file_requests = 0
        """How many requests there were to real files."""
        self._drains = 0
        self._by_name: dict[str, Node] = {}
        self._names = NameGenerator(services.random)

    def new_stats(self) -> BlockAcctStats:
        """Counters for a backend."""
        clocks = self.services.clocks
        latency = None if clocks.harness is None else HARNESS_LATENCY
        return BlockAcctStats(clocks.accounting.now, latency)

    # Looking up

    def nodes(self) -> Iterator[Node]:
        """All nodes, the newest first."""
        return iter(reversed(self._by_name.values()))

    def find_node(self, name: str) -> Node | None:
        """The node of this name."""
        return self._by_name.get(name)

    def lookup_device_or_node(self, device: str | None, node_name: str | None) -> Node:
        """The root of backend `device`, or node `node_name`: QEMU's bdrv_lookup_bs.

        :raises GenericError: there is neither, or the backend is empty
        """
        if device is not None:
            backend = self.backends.get(device)
            if backend is not None:
                if backend.node is None:
                    raise GenericError(f"Device '{device}' has no medium")
                return backend.node
        if node_name is not None:
            node = self._by_name.get(node_name)
            if node is not None:
                return node
        raise GenericError(f"Cannot find device='{device or ''}' nor node-name='{node_name or ''}'")

    def lookup_root(self, name: str) -> Node:
        """As `lookup`, for commands that work on a whole disk.

        :raises GenericError: it is none: another node, or a job, holds it
        """
        node = self.lookup(name)
        if any(not edge.parent.is_backend for edge in node.parents):
            raise GenericError("Need a root block node")
        return node

    def lookup(self, name: str) -> Node:
        """The root of the backend called `name`, or the node called so."""
        node = self._by_name.get(name)
        if node is not None and name not in self.backends:
            return node
        return self.lookup_device_or_node(name, name)

    def backend_of_device(self, device_id: str) -> BlockBackend | None:
        """The backend that device `device_id` uses."""
        return next((b for b in self.all_backends if b.device_id == device_id), None)

    def shown_backends(self) -> Iterator[BlockBackend]:
        """The backends that queries show, the oldest first: those with a name or a device."""
        return (b for b in self.all_backends if b.name or b.device_id is not None)

    # Opening and closing

    async def open(self, options: Mapping[str, Any], *, probed: bool = False) -> Node:
        """Open a node with all it stands on.

        :param options: as blockdev-add takes them, already validated
        :param probed: whether the driver among them is but a guess
        :raises QmpError: QEMU's texts; nothing is left open then
        """
        return await open_node(self, options, probed=probed)

    async def open_reference(
        self,
        reference: str | Mapping[str, Any],
        parent: Node,
        *,
        backing: bool = False,
        probed: bool = False,
    ) -> Node:
        """A child for `parent`: the node named, or a new one from its options.

        :param backing: it is to be a backing file
        :param probed: whether the driver among its options is but a guess
        :raises QmpError: QEMU's texts; nothing is left open then
        """
        if isinstance(reference, str):
            return self.lookup_device_or_node(reference, reference)
        options = child_options(reference, parent, backing=backing)
        child = await open_node(self, options, active=parent.active, given=reference, probed=probed)
        child.inherits_from = parent
        child.explicit = reference
        return child

    def register(self, node: Node, name: str | None) -> None:
        """Give `node` its name, an automatic one for None.

        :raises GenericError: the name is malformed or taken
        """
        if name is None:
            name = self._names.next()
        else:
            check_node_name(name)
            if name in self.backends:
                raise GenericError(f"node-name={name} is conflicting with a device id")
            if name in self._by_name:
                raise GenericError(f"Duplicate nodes with node-name='{name}'")
        node.node_name = name
        self._by_name[name] = node
        for _ in range(self._drains):
            drain.quiesce([node])

    def check_backend_name(self, name: str) -> None:
        """Refuse what cannot be a new backend's name.

        :raises GenericError: the name is taken by a backend or a node
        """
        if name in self.backends:
            raise GenericError(f"Device with id '{name}' already exists")
        if name in self._by_name:
            raise GenericError(f"Device name '{name}' conflicts with an existing node name")

    def add_backend(self, backend: BlockBackend) -> None:
        """Take `backend` in; a name makes it known by it."""
        if backend.name:
            self.backends[backend.name] = backend
        self.all_backends.append(backend)

    def forget_backend(self, backend: BlockBackend) -> None:
        """Undo `add_backend`."""
        if self.backends.get(backend.name) is backend:
            del self.backends[backend.name]
        if backend in self.all_backends:
            self.all_backends.remove(backend)

    def make_anonymous(self, backend: BlockBackend) -> None:
        """Let a backend have a name no longer; its device still has it."""
        del self.backends[backend.name]
        backend.name = ""

    async def unref(self, node: Node) -> None:
        """Close `node`, and what it alone holds, unless something still holds it."""
        closing = [node]
        closed: set[Node] = set()
        while closing:
            current = closing.pop()
            if current.is_held() or current in closed:
                continue
            closed.add(current)
            # What cannot be written is lost: closing a node has no way to fail.
            with suppress(BlockIOError):
                await current.flush()
            await current.driver.close()
            closing += reversed(self.dismantle(current))

    def dismantle(self, node: Node) -> list[Node]:
        """Take a closed node out of the graph; returns its former children."""
        if self._by_name.get(node.node_name) is node:
            del self._by_name[node.node_name]
        return [node.release(name) for name in list(node.children)]

    async def close(self) -> None:
        """Close everything, parents before children."""
        for backend in list(self.all_backends):
            await backend.close()
        for node in list(self.nodes()):
            node.monitor_owned = False
        for node in list(self.nodes()):
            if self._by_name.get(node.node_name) is node:
                await self.unref(node)

    # Drained sections

    async def drained_begin(self, *nodes: Node) -> None:
        """Have nothing start on `nodes` until `drained_end`, and wait for what is under way."""
        drain.quiesce(nodes)
        await drain.wait_quiet(nodes)

    def drained_end(self, *nodes: Node) -> None:
        """Undo one `drained_begin`."""
        drain.resume(nodes)

    async def drain_all_begin(self) -> None:
        """Drain all nodes; those that are made meanwhile belong to the section."""
        self._drains += 1
        nodes = list(self._by_name.values())
        drain.quiesce(nodes)
        await drain.wait_quiet(nodes)

    def drain_all_end(self) -> None:
        """Undo one `drain_all_begin`."""
        self._drains -= 1
        drain.resume(list(self._by_name.values()))

    async def drain_all(self) -> None:
        """Let all requests under way end."""
        await self.drain_all_begin()
        self.drain_all_end()

    def stir_all(self) -> None:
        """A drained section of all nodes that waits for nothing: jobs pause, or go on."""
        nodes = list(self._by_name.values())
        drain.quiesce(nodes)
        drain.resume(nodes)

    async def drained(self, nodes: Iterable[Node] | None, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in a drained section of `nodes`; None for all."""
        drained = None if nodes is None else list(nodes)
        try:
            if drained is None:
                await self.drain_all_begin()
            else:
                await self.drained_begin(*drained)
        except BaseException:
            work.close()
            raise
        try:
            return await work
        finally:
            if drained is None:
                self.drain_all_end()
            else:
                self.drained_end(*drained)

    # Changing the graph; see `qmpd.block.change.replace`

    def replace_node(self, old: Node, new: Node) -> GraphChange:
        """`new` takes the place of `old`."""
        return replace.replace_node(self, old, new)

    def append(self, new: Node, old: Node) -> GraphChange:
        """`new` takes the place of `old`, and has it as its backing or filtered child."""
        return replace.append(self, new, old)

    def set_backing(self, node: Node, backing: Node | None) -> GraphChange:
        """Give `node` another backing file, or none."""
        return replace.set_backing(self, node, backing)

    async def insert_node(self, node: Node, options: Mapping[str, Any]) -> Node:
        """Open a node that stands on `node`, and let it take its place (bdrv_insert_node).

        :raises QmpError: it cannot be opened, or somebody objects; nothing has changed then
        """
        try:
            new = await self.open(options)
        except QmpError as error:
            raise error.prefixed("Could not create node: ") from None
        try:
            await self._put_in_place(new, node, lambda: self.replace_node(node, new))
        except QmpError as error:
            raise error.prefixed("Could not replace node: ") from None
        return new

    async def insert_filter(
        self,
        node: Node,
        options: Mapping[str, Any],
        set_up: Callable[[Node], None] | None = None,
    ) -> Node:
        """Open a filter and put it above `node` (bdrv_append).

        :param options: the filter's, its child left out
        :param set_up: called with the filter before it is put there
        :raises QmpError: it cannot be opened, or somebody objects; nothing has changed then
        """
        new = await self.open(options)
        if set_up is not None:
            set_up(new)
        await self._put_in_place(new, node, lambda: self.append(new, node))
        return new

    async def _put_in_place(self, new: Node, old: Node, change: Callable[[], GraphChange]) -> None:
        """Let `new` take the place of `old`, or close it if somebody objects."""
        await self.drained_begin(old)
        try:
            await change().commit()
        except BaseException:
            await self.unref(new)
            raise
        finally:
            self.drained_end(old)

    async def drop_filter(self, node: Node) -> None:
        """Take a filter out; it is closed unless something else holds it."""
        below = node.filter_or_backing
        assert below is not None
        await self.drained_begin(below)
        try:
            node.hold()
            change = replace.remove_filter(self, node)
            below.hold()
            await change.commit()
        finally:
            self.drained_end(below)
        await self.release(node)
        await self.release(below)

    async def release(self, node: Node) -> None:
        """Take back one `Node.hold`; the node is closed if nothing else holds it."""
        node.unhold()
        await self.unref(node)

    # Commands

    async def blockdev_add(self, options: Mapping[str, Any]) -> Node:
        """Command blockdev-add.

        :raises QmpError: QEMU's texts
        """
        if "node-name" not in options:
            raise GenericError("'node-name' must be specified for the root node")
        node = await self.open(options)
        node.monitor_owned = True
        return node

    async def blockdev_del(self, name: str) -> None:
        """Command blockdev-del: the checks in QEMU's order, then the node is let go.

        :raises GenericError: there is none, or it is in use
        """
        node = self._by_name.get(name)
        if node is None:
            raise GenericError(f"Failed to find node with node-name='{name}'")
        if any(edge.parent.is_backend for edge in node.parents):
            raise GenericError(f"Node {name} is in use")
        node.check_operation(Op.DRIVE_DEL)
        if not node.monitor_owned:
            raise GenericError(f"Node {name} is not owned by the monitor")
        if node.parents or node.is_kept_open:
            raise GenericError(f"Block device {name} is in use")
        node.monitor_owned = False
        await self.unref(node)

    async def block_resize(self, node: Node, size: int) -> None:
        """Command block_resize.

        :param size: bytes
        :raises QmpError: QEMU's texts
        """
        if size < 0:
            raise GenericError("Parameter 'size' expects a >0 size")
        node.check_operation(Op.RESIZE)
        backend = BlockBackend(self, "", node, perm=RESIZE)
        try:
            await backend.drained(backend.truncate(size, exact=False))
        finally:
            await backend.close()

    def set_write_threshold(self, name: str, threshold: int) -> None:
        """Command block-set-write-threshold; 0 takes the threshold away.

        :raises GenericError: there is no such node
        """
        node = self._by_name.get(name)
        if node is None:
            raise GenericError(f"Device '{name}' not found")
        node.write_threshold = threshold

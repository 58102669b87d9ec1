"""The block graph of one machine: its nodes, backends, and what changes them."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from qmpd.block.drivers import check_unserved, find_driver
from qmpd.block.names import NameGenerator, check_node_name
from qmpd.block.node import Node, check_detect_zeroes
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.block.images import Storage
    from qmpd.clock import Clock, Waiter
    from qmpd.events import Emit

INHERITED: Final = ("read-only", "force-share")
"""Options that a child defined inside its parent takes from it unless it says otherwise."""


class DrainUser(Protocol):
    """What works on nodes by itself, and must be quiet while they are drained."""

    def drained_begin(self) -> None:
        """Start nothing new; these calls are counted."""

    def drained_poll(self) -> Waiter | None:
        """Something to wait for while it is still at work, None when it is quiet."""

    def drained_end(self) -> None:
        """Take back one `drained_begin`."""


class Graph:
    """All nodes and named backends.

    :param emit: takes events
    :param storage: where the bytes of images live
    """

    def __init__(self, *, emit: Emit, storage: Storage, clock: Clock) -> None:
        self.emit = emit
        self.storage = storage
        self.clock = clock
        self.backends: dict[str, BlockBackend] = {}
        self.drain_users: list[DrainUser] = []
        self._by_name: dict[str, Node] = {}
        self._names = NameGenerator()

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

    def lookup(self, name: str) -> Node:
        """The root of the backend called `name`, or the node called so."""
        node = self._by_name.get(name)
        if node is not None and name not in self.backends:
            return node
        return self.lookup_device_or_node(name, name)

    def backend_of_device(self, device_id: str) -> BlockBackend | None:
        """The backend that device `device_id` uses."""
        return next((b for b in self.backends.values() if b.device_id == device_id), None)

    # Opening and closing

    async def open_reference(
        self, reference: str | Mapping[str, Any], parent: Node, *, backing: bool = False
    ) -> Node:
        """A child for `parent`: the node named, or a new one from its options.

        :raises QmpError: QEMU's texts; nothing is left open then
        """
        if isinstance(reference, str):
            return self.lookup_device_or_node(reference, reference)
        options = dict(reference)
        options.setdefault("read-only", True if backing else parent.read_only)
        options.setdefault("force-share", parent.force_share)
        options.setdefault("discard", "unmap")
        cache = dict(options.get("cache", {}))
        cache.setdefault("direct", parent.cache.direct)
        cache.setdefault("no-flush", parent.cache.no_flush)
        options["cache"] = cache
        return await self.open(options)

    async def open(self, options: Mapping[str, Any]) -> Node:
        """Open a node with all it stands on, in QEMU's order: children, options, name, driver.

        :param options: as blockdev-add takes them, already validated
        :raises QmpError: QEMU's texts; nothing is left open then
        """
        check_unserved(options)
        driver = find_driver(options["driver"])
        node = Node(self, "", options)
        try:
            _read_flags(node, options)
            if driver.file_child:
                await node.open_child("file", options["file"])
            _read_common_options(node, options, driver.needs_filename)
            self._register(node, options.get("node-name"))
            node.driver = await driver.open(node, options)
            try:
                node.refresh_length()
            except BlockIOError as error:
                await node.driver.close()
                raise error.prefixed("Could not refresh total sector count: ") from None
        except BaseException:
            await self._dismantle(node)
            raise
        return node

    def _register(self, node: Node, name: str | None) -> None:
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

    async def unref(self, node: Node) -> None:
        """Close `node` unless something still holds it."""
        if node.parents or node.monitor_owned:
            return
        await node.driver.close()
        await self._dismantle(node)

    async def _dismantle(self, node: Node) -> None:
        if self._by_name.get(node.node_name) is node:
            del self._by_name[node.node_name]
        for name in list(node.children):
            await node.detach(name)

    async def close(self) -> None:
        """Close everything, parents before children."""
        for backend in list(self.backends.values()):
            await backend.close()
        for node in list(self.nodes()):
            node.monitor_owned = False
        for node in list(self.nodes()):
            if self._by_name.get(node.node_name) is node:
                await self.unref(node)

    async def drain_all_begin(self) -> None:
        """Have all that works on the graph stand still; nothing new starts until the end."""
        for node in self._by_name.values():
            node.quiesce_counter += 1
        for user in self.drain_users:
            user.drained_begin()
        for user in self.drain_users:
            while (busy := user.drained_poll()) is not None:
                await busy

    def drain_all_end(self) -> None:
        """Undo one `drain_all_begin`."""
        for node in self._by_name.values():
            node.quiesce_counter = max(0, node.quiesce_counter - 1)
        for user in self.drain_users:
            user.drained_end()

    async def drain_all(self) -> None:
        """Let all requests under way end."""
        await self.drain_all_begin()
        self.drain_all_end()

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
        if any(not isinstance(edge.parent, Node) for edge in node.parents):
            raise GenericError(f"Node {name} is in use")
        if any(edge.name == "backing" for edge in node.parents):
            over = next(edge.parent for edge in node.parents if edge.name == "backing")
            raise GenericError(
                f"Node '{name}' is busy: node is used as backing hd of '{_name_of(over)}'"
            )
        if not node.monitor_owned:
            raise GenericError(f"Node {name} is not owned by the monitor")
        if node.parents:
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
        await node.truncate(size, exact=False)

    def set_write_threshold(self, name: str, threshold: int) -> None:
        """Command block-set-write-threshold; 0 takes the threshold away.

        :raises GenericError: there is no such node
        """
        node = self._by_name.get(name)
        if node is None:
            raise GenericError(f"Device '{name}' not found")
        node.write_threshold = threshold


def _name_of(parent: Node | BlockBackend) -> str:
    return parent.device_or_node_name if isinstance(parent, Node) else parent.name


def _read_flags(node: Node, options: Mapping[str, Any]) -> None:
    node.read_only = options.get("read-only", False)
    node.force_share = options.get("force-share", False)
    node.active = options.get("active", True)
    cache = options.get("cache", {})
    node.cache.direct = cache.get("direct", False)
    node.cache.no_flush = cache.get("no-flush", False)
    node.unmap = options.get("discard", "ignore") == "unmap"


def _read_common_options(node: Node, options: Mapping[str, Any], needs_filename: bool) -> None:
    if node.force_share and not node.read_only:
        raise GenericError("force-share=on can only be used with read-only images")
    if needs_filename and not options.get("filename"):
        driver = options["driver"]
        raise GenericError(f"The '{driver}' block driver requires a file name")
    node.detect_zeroes = options.get("detect-zeroes", "off")
    check_detect_zeroes(node)


NO_MEDIUM: Final = errno.ENOMEDIUM

"""A node of the block graph (QEMU's BlockDriverState): where it stands, and its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from qmpd.block.change import drain
from qmpd.block.change.permissions import refresh_permissions
from qmpd.block.model.blockers import BACKING_ALLOWS, Blocker, Blockers, Op
from qmpd.block.model.edge import Edge
from qmpd.block.model.node_io import MAXIMUM_LENGTH, CacheMode, NodeIO
from qmpd.block.permission_bits import (
    ALL,
    COW,
    DATA,
    FILTERED,
    NOTHING,
    PRIMARY,
    Perm,
    Permissions,
    Role,
)
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.driver import BlockDriver
    from qmpd.block.model.graph import Graph


class Node(NodeIO):
    """One node. Made by `Graph.open`; reading and writing are in `NodeIO`.

    :param driver_class: what serves it
    :param options: all its options, as blockdev-add takes them
    """

    is_node: ClassVar[bool] = True
    is_backend: ClassVar[bool] = False
    stays_at_node: ClassVar[bool] = False

    def __init__(
        self, graph: Graph, driver_class: type[BlockDriver], options: Mapping[str, Any]
    ) -> None:
        super().__init__(graph)
        self.node_name = ""
        self.options = dict(options)
        self.explicit: Mapping[str, Any] = self.options
        """The options that it was given itself, not those it has from a parent."""
        self.reopened = False
        """Whether its options are of blockdev-reopen: QEMU keeps these in another order."""
        self.texts: dict[str, str] = {}
        """Options as a command line had them, where they are shown like that."""
        self.driver_class = driver_class
        self.children: dict[str, Edge] = {}
        self.parents: list[Edge] = []
        """The edges that hold it, the newest first."""
        self.force_share = False
        self.auto_read_only = False
        self.reopening = False
        """Whether it was writable, and is being given other options."""
        self.monitor_owned = False
        self.probed = False
        """Whether its format was not named, but found out."""
        self.implicit = False
        """A filter that a job has put there under an automatic name: most queries hide it."""
        self.inherits_from: Node | None = None
        """The node inside whose options this one was defined."""
        self._holds = 0
        self.blockers = Blockers()
        self._backing_blocker: Blocker | None = None

    def __repr__(self) -> str:
        return f"<Node {self.node_name!r}>"

    # The graph around it

    @property
    def file(self) -> Node | None:
        """The `file` child, where there is one."""
        edge = self.children.get("file")
        return None if edge is None else edge.node

    @property
    def backing(self) -> Node | None:
        """The `backing` child, where there is one."""
        edge = self.children.get("backing")
        return edge.node if edge is not None and edge.role & COW else None

    @property
    def primary(self) -> Node | None:
        """The child that stands for the node's own file, where there is one."""
        for edge in self.children.values():
            if edge.role & PRIMARY:
                return edge.node
        return None

    @property
    def filter_or_backing(self) -> Node | None:
        """What is seen where this node has nothing: the filtered child, or the backing file."""
        edge = self.filter_or_backing_edge
        return None if edge is None else edge.node

    @property
    def filter_or_backing_edge(self) -> Edge | None:
        """The edge to `filter_or_backing`."""
        for edge in self.children.values():
            if edge.role & COW or (self.driver_class.is_filter and edge.role & FILTERED):
                return edge
        return None

    @property
    def device_name(self) -> str:
        """Name of the backend whose root this is; "" for none."""
        for edge in self.parents:
            user = edge.user
            if user is not None and user.name:
                return user.name
        return ""

    @property
    def device_or_node_name(self) -> str:
        """Name of its backend, else its own: how most messages call it."""
        return self.device_name or self.node_name

    @property
    def user_description(self) -> str:
        """How permission conflicts call this node as somebody's parent."""
        return f"node '{self.node_name}'"

    @property
    def writable(self) -> bool:
        """Whether it may be written: neither read-only nor inactive."""
        return not self.read_only and self.active

    def is_held(self) -> bool:
        """Whether anything keeps it open: a parent, the monitor, or work that needs it."""
        return bool(self.parents) or self.monitor_owned or self._holds > 0

    def hold(self) -> None:
        """Keep it open for a while; `Graph.release` is the end of that."""
        self._holds += 1

    @property
    def is_kept_open(self) -> bool:
        """Whether a `hold` has not been taken back."""
        return self._holds > 0

    def unhold(self) -> None:
        """Take back one `hold`, without closing the node."""
        self._holds -= 1

    # Permissions

    def cumulative_permissions(self) -> Permissions:
        """What all parents use together, and what all of them share."""
        perm, shared = NOTHING, ALL
        for edge in self.parents:
            perm |= edge.perm
            shared &= edge.shared
        return perm, shared

    def child_permissions(self, edge: Edge, perm: Perm, shared: Perm) -> Permissions:
        """What this node asks of a child when its own parents use `perm` and share `shared`."""
        wanted = self.driver_class.child_permissions(self, edge.role, perm, shared)
        return (wanted[0], ALL) if edge.node.force_share else wanted

    # Children

    async def open_child(
        self,
        name: str,
        reference: str | Mapping[str, Any],
        *,
        backing: bool = False,
        role: Role | None = None,
    ) -> Node:
        """Attach a child: an existing node by name, or a new one from its options.

        :param backing: it is a backing child: read-only unless it says otherwise
        :param role: what it holds, see `qmpd.block.permission_bits`; data if absent
        :raises QmpError: it cannot be opened, or its other parents object
        """
        if role is None:
            role = COW if backing else DATA
        child = await self.graph.open_reference(reference, self, backing=bool(role & COW))
        try:
            self.attach(name, child, role)
        except BaseException:
            if child is not self:
                await self.graph.unref(child)
            raise
        return child

    def attach(self, name: str, child: Node, role: Role) -> Edge:
        """Make `child` this node's child called `name`.

        :raises GenericError: that is a cycle, the child is inactive, or its parents object
        """
        self.check_child(name, child)
        edge = Edge(name, self, child, role)
        self.link(edge)
        try:
            refresh_permissions(*_concerned(self, child))
        except BaseException:
            self.unlink(edge)
            raise
        return edge

    def check_child(self, name: str, child: Node) -> None:
        """Whether `child` could be a child, as far as the two of them are concerned.

        :raises GenericError: that is a cycle, or the child is inactive
        """
        if self.is_below(child):
            raise GenericError(
                f"Making '{child.node_name}' a {name} child of '{self.node_name}'"
                " would create a cycle"
            )
        if self.active and not child.active:
            raise GenericError(
                f"Inactive '{child.node_name}' can't be a {name} child of active '{self.node_name}'"
            )

    def link(self, edge: Edge) -> None:
        """Make the node of `edge` a child, without a look at permissions."""
        self.children[edge.name] = edge
        edge.node.add_parent(edge)
        if edge.role & COW:
            self._backing_blocker = Blocker(
                f"node is used as backing hd of '{self.device_or_node_name}'", BACKING_ALLOWS
            )
            edge.node.blockers.add(self._backing_blocker)

    def unlink(self, edge: Edge) -> None:
        """Undo `link`."""
        del self.children[edge.name]
        edge.node.remove_parent(edge)
        if edge.role & COW and self._backing_blocker is not None:
            edge.node.blockers.remove(self._backing_blocker)
            self._backing_blocker = None

    def add_parent(self, edge: Edge) -> None:
        """Let `edge` hold this node, without a look at permissions."""
        self.parents.insert(0, edge)
        drain.joined(edge)

    def remove_parent(self, edge: Edge) -> None:
        """Undo `add_parent`."""
        self.parents.remove(edge)
        drain.left(edge)

    def refresh_permissions(self) -> None:
        """Work out anew what is asked of the children.

        :raises QmpError: somebody objects; nothing has changed then
        """
        refresh_permissions(self)

    def release(self, name: str) -> Node:
        """Let go of child `name`, without closing it; returns it."""
        edge = self.children[name]
        self.unlink(edge)
        refresh_permissions(edge.node)
        return edge.node

    async def detach(self, name: str) -> None:
        """Let go of child `name`; it is closed if nothing else holds it."""
        await self.graph.unref(self.release(name))

    # The chain below

    @property
    def name(self) -> str:
        """A node is no backend, and has no name as one."""
        return ""

    @property
    def backing_chain_next(self) -> Node | None:
        """The next image of the chain, filters left out on both sides."""
        below = self.skip_filters().backing
        return None if below is None else below.skip_filters()

    def skip_filters(self) -> Node:
        """The first node from here downwards that is no filter."""
        node = self
        while node.driver is not None and node.driver.is_filter:
            below = node.filter_or_backing
            if below is None:
                break
            node = below
        return node

    def skip_implicit_filters(self) -> Node:
        """The first node from here downwards that no job has put there by itself."""
        node = self
        while node.implicit:
            below = node.filter_or_backing
            if below is None:
                break
            node = below
        return node

    def chain_contains(self, node: Node) -> bool:
        """Whether `node` is in the chain from here downwards, filters included."""
        current: Node | None = self
        while current is not None and current is not node:
            current = current.filter_or_backing
        return current is not None

    def overlay_of(self, base: Node | None) -> Node | None:
        """The image in the chain from here whose backing file is `base`, filters left out.

        :param base: None for the end of the chain: the image without backing file
        :returns: None where the chain does not lead there
        """
        bottom = None if base is None else base.skip_filters()
        node = self.skip_filters()
        while (below := node.backing_chain_next) is not bottom:
            if below is None:
                return None
            node = below
        return node

    def can_replace(self, node: Node) -> bool:
        """Whether `node`, which this one shows, may be replaced by a copy of this one."""
        if self.driver_class.may_replace is not None:
            return self.driver_class.may_replace(self, node)
        current: Node | None = self
        while current is not None:
            if current is node:
                return True
            current = current.filter_or_backing if current.driver.is_filter else None
        return False

    @property
    def io_waits(self) -> bool:
        """Whether its requests take time: somewhere below is a real file."""
        seen, stack = {self}, [self]
        while stack:
            current = stack.pop()
            if current.driver.io_waits:
                return True
            for edge in current.children.values():
                if edge.node not in seen:
                    seen.add(edge.node)
                    stack.append(edge.node)
        return False

    @property
    def can_write_zeroes_with_unmap(self) -> bool:
        """Whether zeroes may be written by giving space back."""
        return self.unmap and self.driver.zeroes_may_unmap()

    def round_to_subclusters(self, offset: int, length: int) -> tuple[int, int]:
        """The area grown to whole units of allocation."""
        size = self.driver.subcluster_size() or 1
        start = offset // size * size
        return start, -(-(offset + length) // size) * size - start

    def is_below(self, node: Node) -> bool:
        """Whether this node is `node`, or stands somewhere below it."""
        seen, stack = {node}, [node]
        while stack:
            current = stack.pop()
            if current is self:
                return True
            for edge in current.children.values():
                if edge.node not in seen:
                    seen.add(edge.node)
                    stack.append(edge.node)
        return False

    # State

    async def set_read_only(self, read_only: bool) -> None:
        """Make the node read-only, or writable; children that took its mode follow.

        :raises QmpError: the driver cannot, or somebody needs to write
        """
        from qmpd.block.change.reopen import reopen_read_only

        if read_only != self.read_only:
            await reopen_read_only(self.graph, self, read_only)

    def check_operation(self, operation: Op) -> None:
        """Whether an operation may be done now.

        :raises GenericError: something blocks it
        """
        self.blockers.check(operation, self.device_or_node_name)


def _concerned(parent: Node, child: Node) -> tuple[Node, ...]:
    """The nodes whose permissions a new edge between them may change."""
    return (parent, child) if child.driver_class.depends_on_parents else (parent,)


class _DetectsZeroes(Protocol):
    detect_zeroes: str
    unmap: bool


def check_detect_zeroes(node: _DetectsZeroes) -> None:
    """detect-zeroes=unmap needs discard=unmap.

    :raises GenericError: where it has it not
    """
    if node.detect_zeroes == "unmap" and not node.unmap:
        raise GenericError(
            "setting detect-zeroes to unmap is not allowed without setting discard operation"
            " to unmap"
        )


__all__ = ["MAXIMUM_LENGTH", "CacheMode", "Node", "check_detect_zeroes"]

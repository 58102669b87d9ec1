"""A node of the block graph (QEMU's BlockDriverState) and the edges between nodes (BdrvChild)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qmpd.base.newest_first import NewestFirst
from qmpd.block.model.blockers import Blocker, Blockers, Op
from qmpd.block.model.node_io import NodeIO
from qmpd.block.model.parent import CHILD_OF_BDS, ChildClass, Parent
from qmpd.block.permission_bits import (
    ALL,
    COW,
    FILTERED,
    NO_ROLE,
    NOTHING,
    PRIMARY,
    GraphMod,
    Perm,
    Permissions,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qmpd.block.model.aio_context import AioContext
    from qmpd.block.model.flags import NodeFlags
    from qmpd.block.model.interface import DriverInterface
    from qmpd.block.model.node_options import NodeOptions
    from qmpd.block.model.table import NodeTable


@dataclass(slots=True, eq=False)
class Edge:
    """A parent's hold on a node.

    `name` is the child's name there, `kind` says who the parent is: a node (`parent_node`) or a
    backend or job (`user`).  `role` is what the child holds for a parent node, `perm` and
    `shared` what the parent does and lets others do.  `frozen`: a job relies on the link.
    `quiesced`: the parent was told of a drained section.
    """

    name: str
    kind: ChildClass
    node: Node
    parent_node: Node | None = None
    user: Holder | None = None
    role: Role = NO_ROLE
    perm: Perm = NOTHING
    shared: Perm = ALL
    frozen: bool = False
    quiesced: bool = False
    graph_mod: GraphMod = GraphMod.SHARED

    @classmethod
    def child(cls, name: str, parent: Node, node: Node, role: Role) -> Edge:
        """A child of another node."""
        return cls(name, CHILD_OF_BDS, node, parent_node=parent, role=role)

    @property
    def parent(self) -> object:
        """Whoever holds the node."""
        return self.user if self.parent_node is None else self.parent_node

    @property
    def parent_description(self) -> str:
        """How permission conflicts call the parent (``get_parent_desc``)."""
        if self.parent_node is not None:
            return f"node '{self.parent_node.node_name}'"
        return "" if self.user is None else self.user.user_description


class Holder(Parent, Protocol):
    """A backend or a job, with its holds."""

    @property
    def holds(self) -> Iterable[Edge]:
        """Its holds on nodes, all of which move to another loop together."""


class Node(NodeIO):
    """One node, made by `qmpd.block.change.opening`; reading and writing are in `NodeIO`.

    :param driver_class: what serves it
    :param options: all its options
    :param flags: what the common ones among them say
    """

    def __init__(
        self,
        graph: NodeTable[Node],
        driver_class: type[DriverInterface[Node]],
        options: NodeOptions,
        flags: NodeFlags,
    ) -> None:
        super().__init__(graph.services, flags)
        self.graph = graph
        self.driver: DriverInterface[Node] = None  # type: ignore[assignment]  # set while opened
        self.node_name = ""
        self.options = options
        self.driver_class = driver_class
        self.children: dict[str, Edge] = {}
        self.parents: NewestFirst[Edge] = NewestFirst()
        """The edges that hold it, the newest first."""
        self.reopening = False
        """Whether it was writable, and is being given other options."""
        self.monitor_owned = False
        self.implicit = False
        """A filter that a job has put there under an automatic name: most queries hide it."""
        self.inherits_from: Node | None = None
        """The node inside whose options this one was defined; set by `follow`."""
        self.followers = 0
        """How many nodes inherit from this one."""
        self._holds = 0
        self.blockers = Blockers()
        self.aio_context: AioContext = None
        """The loop that it works in; the same as that of all who hold it, and all below."""
        self.backing_blocker: Blocker | None = None
        """What keeps its backing file from being used otherwise."""

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
            if edge.role & COW or (self.driver_class.shape.is_filter and edge.role & FILTERED):
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
    def is_inserted(self) -> bool:
        """Whether it has a medium, and so has all that it is made of (``bdrv_is_inserted``)."""
        looking: list[Node] = [self]
        for node in looking:
            if node.driver.gone:
                return False
            for edge in node.children.values():
                looking.append(edge.node)
        return True

    @property
    def device_or_node_name(self) -> str:
        """Name of its backend, else its own: how most messages call it."""
        return self.device_name or self.node_name

    @property
    def probed(self) -> bool:
        """Whether its format was not named, but found out."""
        return self.options.probed

    @property
    def force_share(self) -> bool | None:
        """Whether others may do what they like with what it stands on."""
        return self.flags.force_share

    @property
    def auto_read_only(self) -> bool:
        """Whether its file is opened for writing only when somebody needs to write."""
        return self.flags.auto_read_only

    @property
    def writable(self) -> bool:
        """Whether it may be written: neither read-only nor inactive."""
        flags = self.flags
        return not flags.read_only and flags.active

    def is_held(self) -> bool:
        """Whether anything keeps it open: a parent, the monitor, or work that needs it."""
        return bool(self.parents) or self.monitor_owned or self._holds > 0

    def hold(self) -> None:
        """Keep it open for a while; `qmpd.block.change.closing.release` is the end of that."""
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
        return (wanted[0], ALL) if edge.node.flags.force_share else wanted

    # The chain below

    @property
    def backing_chain_next(self) -> Node | None:
        """The next image of the chain, filters left out on both sides."""
        below = self.skip_filters().backing
        return None if below is None else below.skip_filters()

    def skip_filters(self) -> Node:
        """The first node from here downwards that is no filter."""
        node = self
        while node.driver is not None and node.driver.shape.is_filter:
            below = node.filter_or_backing
            if below is None:
                break
            node = below
        return node

    def follow(self, parent: Node | None) -> None:
        """Inherit from another node from now on, or from none."""
        if self.inherits_from is not None:
            self.inherits_from.followers -= 1
        self.inherits_from = parent
        if parent is not None:
            parent.followers += 1

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
        special = self.driver.can_replace(node)
        if special is not None:
            return special
        current: Node | None = self
        while current is not None:
            if current is node:
                return True
            current = current.filter_or_backing if current.driver.shape.is_filter else None
        return False

    @property
    def can_write_zeroes_with_unmap(self) -> bool:
        """Whether zeroes may be written by giving space back."""
        return self.unmap and self.driver.zeroes_may_unmap()

    def is_below(self, node: Node) -> bool:
        """Whether this node is `node`, or stands somewhere below it."""
        # upwards: what is put into a chain mostly has nothing above it
        seen, stack = {self}, [self]
        while stack:
            current = stack.pop()
            if current is node:
                return True
            for edge in current.parents:
                parent = edge.parent_node
                if parent is not None and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return False

    # Use

    def check_operation(self, operation: Op) -> None:
        """Whether an operation may be done now.

        :raises GenericError: something blocks it
        """
        self.blockers.check(operation, self.device_or_node_name)

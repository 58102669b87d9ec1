"""An edge of the block graph: one parent's hold on one node (QEMU's BdrvChild)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from qmpd.block.permission_bits import ALL, NO_ROLE, NOTHING, Perm, Role

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.loop.clock import Waiter


class Parent(Protocol):
    """What holds a node, other than another node: a block backend or a job."""

    is_node: ClassVar[bool]
    """Whether it is a node after all."""
    is_backend: ClassVar[bool]
    """Whether it is a block backend, which puts the node to use."""
    stays_at_node: ClassVar[bool]
    """Whether it goes on holding the same node when another takes that node's place."""

    @property
    def name(self) -> str:
        """Name of a backend; "" for all others."""

    @property
    def user_description(self) -> str:
        """How permission conflicts call it."""

    def node_activated(self) -> None:
        """The node it holds is active again."""

    def node_inactivated(self) -> None:
        """The node it holds is being given up: it must not need to write any more."""

    def node_resized(self) -> None:
        """The node it holds has another length."""

    def drained_begin(self) -> None:
        """A node it holds is to be quiet: start nothing new; these calls are counted."""

    def drained_poll(self) -> Waiter | None:
        """Something to wait for while it is still at work, None when it is quiet."""

    def drained_end(self) -> None:
        """Take back one `drained_begin`."""


@dataclass(slots=True, eq=False)
class Edge:
    """A parent's hold on a node.

    `name` is the child's name there, `role` what it holds for the parent (see
    `qmpd.block.permission_bits`), `perm` and `shared` what the parent does and lets others do.
    `frozen`: a job relies on the link.  `quiesced`: the parent was told of a drained section.
    """

    name: str
    parent: Node | Parent
    node: Node
    role: Role = NO_ROLE
    perm: Perm = NOTHING
    shared: Perm = ALL
    frozen: bool = False
    quiesced: bool = False

    @property
    def parent_node(self) -> Node | None:
        """The parent if it is a node."""
        return cast("Node", self.parent) if self.parent.is_node else None

    @property
    def user(self) -> Parent | None:
        """The parent if it is no node."""
        return None if self.parent.is_node else cast("Parent", self.parent)

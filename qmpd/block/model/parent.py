"""What holds a node of the graph: another node, a block backend or a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from qmpd.block.model.aio_context import AioContext
    from qmpd.loop.task import Waiter


@dataclass(frozen=True, slots=True)
class ChildClass:
    """A kind of hold on a node, after who has it (QEMU's BdrvChildClass)."""

    name: str
    stays_at_node: bool = False
    """Whether the parent goes on holding the same node when another takes that node's place."""


CHILD_OF_BDS: Final = ChildClass("child_of_bds")
"""A child of another node."""
CHILD_ROOT: Final = ChildClass("child_root")
"""The root of a block backend, which puts the node to use."""
CHILD_JOB: Final = ChildClass("child_job", stays_at_node=True)
"""A node that a job works on."""


class Parent(Protocol):
    """What holds a node, other than another node: a block backend or a job.

    `aio_context` is the loop that it works in.
    """

    aio_context: AioContext

    @property
    def name(self) -> str:
        """The name that its node goes by; only a block backend has one (``get_name``)."""
        return ""

    @property
    def user_description(self) -> str:
        """How permission conflicts call it."""

    @property
    def brief_description(self) -> str:
        """How they called it before they told both sides."""
        return self.user_description

    def node_activated(self) -> None:
        """The node it holds is active again."""

    def node_inactivated(self) -> None:
        """The node it holds is being given up: it must not need to write any more."""

    def node_resized(self) -> None:
        """The node it holds has another length."""

    def check_context_change(self) -> None:
        """Whether what it holds may move to another loop, and it as well (``change_aio_ctx``).

        :raises GenericError: somebody relies on the present one
        """

    def drained_begin(self) -> None:
        """A node it holds is to be quiet: start nothing new; these calls are counted."""

    def drained_poll(self) -> Waiter | None:
        """Something to wait for while it is still at work, None when it is quiet."""

    def drained_end(self) -> None:
        """Take back one `drained_begin`."""


class Reader(Protocol):
    """Who reads the graph again and again, and stops for the write lock: a block job."""

    @property
    def at_work(self) -> bool:
        """Whether it would stop."""

    def reading(self) -> Waiter | None:
        """Something to wait for while it is in the middle of a request, None when it is not."""

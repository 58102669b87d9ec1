"""The backend by which ``bdrv_open`` holds a file while it opens what stands on it.

It uses nothing and shares everything, so that hardly anybody notices: only nodes that ask for
more where they have parents do so for it as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.change.drain import drain
from qmpd.block.change.edges import add_parent, remove_parent
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.model.node import Edge
from qmpd.block.model.parent import CHILD_ROOT, Parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmpd.block.model.node import Node
    from qmpd.loop.task import Waiter


class FileBackend(Parent):
    """The backend on one file."""

    def __init__(self, file: Node) -> None:
        self.aio_context = file.aio_context
        self.holds: Sequence[Edge] = ()
        self._file = file

    async def come(self) -> None:
        """Hold the file (``blk_insert_bs``).

        :raises QmpError: the file, which has a parent with this, asks for what it cannot get
        """
        file = self._file
        async with write_lock(file.graph):
            if not file.driver_class.shape.depends_on_parents:
                return
            edge = Edge("root", CHILD_ROOT, file, user=self)
            add_parent(edge)
            try:
                refresh_permissions(file)
            except BaseException:
                remove_parent(edge)
                raise
            self.holds = (edge,)

    async def drain(self) -> None:
        """Drain the file: blk_unref does, and so does blk_remove_bs after it."""
        for _ in range(2):
            await drain(self._file)

    async def go(self) -> None:
        """Let go of the file, which has been drained."""
        async with write_lock(self._file.graph):
            for edge in self.holds:
                remove_parent(edge)
                loosen_permissions(self._file)
            self.holds = ()

    @property
    @override
    def user_description(self) -> str:
        return "an unnamed block device"

    @property
    @override
    def brief_description(self) -> str:
        return "a block device"

    @override
    def node_activated(self) -> None:
        """Do nothing: it uses nothing."""

    @override
    def node_inactivated(self) -> None:
        """Do nothing: it uses nothing."""

    @override
    def node_resized(self) -> None:
        """Do nothing: nobody asks it for a length."""

    @override
    def check_context_change(self) -> None:
        """Follow the file to any loop."""

    @override
    def drained_begin(self) -> None:
        """Do nothing: it has no requests."""

    @override
    def drained_poll(self) -> Waiter | None:
        return None

    @override
    def drained_end(self) -> None:
        """Do nothing: it has no requests."""

"""The loop that a block backend works in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.change.aio_context import try_change
from qmpd.block.io.access import Access
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.aio_context import AioContext
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Edge
    from qmpd.block.permission_bits import Perm


class InLoop(Access):
    """A loop, which is that of the node too.

    :param context: the loop at first; other parameters as of `Access`
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        *,
        perm: Perm,
        shared: Perm,
        force_allow_inactivate: bool,
        context: AioContext,
    ) -> None:
        super().__init__(
            graph, name, perm=perm, shared=shared, force_allow_inactivate=force_allow_inactivate
        )
        self.aio_context = context
        self.follows_node = False
        """Whether it goes along where its node moves to another loop
        (``blk_set_allow_aio_context_change``)."""

    def check_context_change(self) -> None:
        """Whether the node may move to another loop, as far as this backend is concerned.

        :raises GenericError: a device, an export or a job relies on the present one
        """
        if not self.follows_node and (not self.name or self.device_id is not None):
            raise GenericError("Cannot change iothread of active block backend")

    @property
    def holds(self) -> tuple[Edge, ...]:
        """Its hold on the root node."""
        return () if self.root is None else (self.root,)

    async def set_context(self, context: AioContext) -> None:
        """Work in another loop, with the node (``blk_set_aio_context``).

        :raises GenericError: another user of the node relies on the present one
        """
        if self.root is None:
            self.aio_context = context
            return
        follows, self.follows_node = self.follows_node, True
        try:
            await try_change(self.root.node, context)
        finally:
            self.follows_node = follows

"""What all streams do: copying data from backing files into an image."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qmpd.base.override import override
from qmpd.block.change.insert import change_backing
from qmpd.block.change.reopen import set_read_only
from qmpd.block.io.chain_status import is_allocated_above
from qmpd.block.permission_bits import CONSISTENT_READ, NOTHING, WRITE_UNCHANGED, GraphMod
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.jobs.core.block_job import BlockJob
from qmpd.jobs.core.states import ErrorAction

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.options import MergeOptions
    from qmpd.jobs.core.protocols import Listing

_CHUNK: Final = 512 << 10
BASIC: Final = CONSISTENT_READ | WRITE_UNCHANGED


class StreamWork(BlockJob):
    """Copies the data of the images below `target`, down to `base_overlay`, into it.

    :param main: the node that the job is started on
    :param above_base: the node directly above the future backing file
    """

    job_type = "stream"

    def __init__(
        self,
        table: Listing,
        main: Node,
        target: Node,
        base_overlay: Node,
        above_base: Node,
        options: MergeOptions,
    ) -> None:
        super().__init__(table, main, options.job)
        self.graph = target.graph
        self.target = target
        self.base_overlay = base_overlay
        self.above_base = above_base
        self.options = options
        self.was_read_only = False

    def hold_below(self, base: Node | None, graph_mod: GraphMod = GraphMod.SHARED) -> None:
        """Hold the nodes below the image, down to, not including, `base`.

        :raises GenericError: permissions conflict
        """
        below = self.target.filter_or_backing
        while below is not None and below is not base:
            self.add_node("intermediate node", below, NOTHING, BASIC, graph_mod)
            below = below.filter_or_backing

    async def change_backing(self, image: Node, base: Node | None) -> BlockIOError | None:
        """Put `image` above `base`; returns the error of the job if it stays where it was."""
        try:
            await change_backing(image, base)
        except QmpError as error:
            self.graph.services.say.report(error.report.removesuffix("\n"))
            return BlockIOError(errno.EPERM)
        return None

    async def make_read_only(self) -> None:
        """Have the image as it was before the job, if that is allowed."""
        with suppress(QmpError):
            await set_read_only(self.target, True)

    async def populate(self, offset: int, count: int) -> None:
        """Copy an area that is somewhere below into the image.

        :raises BlockIOError: it cannot be read, or written
        """
        raise NotImplementedError

    @override
    async def run(self) -> None:
        unfiltered = self.target.skip_filters()
        if unfiltered is self.base_overlay:
            return
        length = self.target.length
        self.progress.total = length
        failure: BlockIOError | None = None
        while self.progress.current < length:
            await self.limit_speed()
            if self.cancelled:
                break
            offset = self.progress.current
            count, copies = min(_CHUNK, length - offset), False
            try:
                count, copies = await self._copy(unfiltered, offset, length)
            except BlockIOError as error:
                action = self.io_failed(self.options.on_error, error.errno, read=True)
                if action is ErrorAction.STOP:
                    continue
                failure = failure or BlockIOError(error.errno)
                if action is ErrorAction.REPORT:
                    break
            self.progress.current += count
            if copies:
                self.processed(count)
            else:
                self.passed_over()
        if failure is not None:
            raise failure

    async def _copy(self, node: Node, offset: int, length: int) -> tuple[int, bool]:
        """Copy a chunk up; returns its length and whether there was data to copy."""
        allocated, count = await node.is_allocated(offset, min(_CHUNK, length - offset))
        if allocated:
            return count, False
        below = node.backing
        assert below is not None
        copies, count = await is_allocated_above(
            below, self.base_overlay, offset, count, include_base=True
        )
        if not copies:
            return count or length - offset, False
        await self.populate(offset, count)
        return count, True


def find_overlay(node: Node, base: Node | None, bottom: Node | None) -> tuple[Node, Node]:
    """The last image to copy, and the node directly above the future backing file.

    :raises GenericError: the base is not below `node`
    """
    if node.driver.gone and base is None and bottom is None:
        # there is no chain any more; the filter will say so
        return node, node
    overlay = node.overlay_of(base) if bottom is None else bottom
    if overlay is None:
        name = "" if base is None else base.node_name
        raise GenericError(f"'{name}' is not in the backing chain of '{node.node_name}'")
    if bottom is not None or overlay.backing is base:
        return overlay, overlay
    below = overlay.backing
    while below is not None and below.filter_or_backing is not base:
        below = below.filter_or_backing
    return overlay, below or overlay

"""stream: copying data from backing files into an image, which makes the chain shorter."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.block.change.chain import change_backing_name
from qmpd.block.change.closing import release
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.insert import drop_filter, insert_node
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import freeze_chain, unfreeze_chain
from qmpd.block.drivers.filters.copy_on_read import CopyOnRead
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.completed import completed
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import CONSISTENT_READ, NOTHING, WRITE
from qmpd.errors import QmpError
from qmpd.jobs.merge.stream_work import BASIC, StreamWork, find_overlay

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.options import MergeOptions
    from qmpd.jobs.core.protocols import Listing


class StreamJob(StreamWork):
    """A stream below `main`, a copy-on-read filter; see `StreamWork`."""

    def __init__(self, table: Listing, main: Node, *more: Any) -> None:
        super().__init__(table, main, *more)
        self.filter: Node | None = main
        self._reader: BlockBackend | None = None

    async def take_nodes(self, base: Node | None) -> None:
        """Hold the images.

        :raises GenericError: permissions conflict
        """
        assert self.filter is not None
        self._reader = await BlockBackend.on(
            self.filter, perm=CONSISTENT_READ, shared=BASIC | WRITE, queues=False
        )
        self._reader.follows_node = True
        async with write_lock(self.graph):
            self.add_node("active node", self.target, NOTHING, BASIC | WRITE)
            self.hold_below(base)

    @override
    async def populate(self, offset: int, count: int) -> None:
        assert self.filter is not None
        assert isinstance(self.filter.driver, CopyOnRead)
        prefetch = self.filter.driver.prefetch(offset, count)
        await completed(self.target, prefetch, count)

    # Its end

    async def _drop_filter(self) -> None:
        if self.filter is not None:
            dropped, self.filter = self.filter, None
            await _drop_filter(dropped)

    @override
    async def prepare(self) -> None:
        """Change the backing file of the image."""
        await self._drop_filter()
        unfiltered = self.target.skip_filters()
        async with standstill(self.graph, self.above_base):
            if unfiltered.backing is not None:
                await self._change_backing(unfiltered)

    async def _change_backing(self, node: Node) -> None:
        base = self.above_base.filter_or_backing
        image = None if base is None else base.skip_filters()
        name = None
        if image is not None:
            given = self.options.backing_file
            name = filename(image) if given is None else given
        failure = await self.change_backing(node, base)
        if not node.read_only:
            mask = self.options.mask_protocol
            await change_backing_name(node, name, image, mask_protocol=mask)
        if failure is not None:
            raise failure

    @override
    async def clean(self) -> None:
        """Remove the filter and make the image read-only again if it was.

        The nodes are released when the job is dismissed: even the filter stays open until then.
        """
        await self._drop_filter()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()
        if self.was_read_only:
            if self.graph.services.manners.streams_leave_the_image_writable:
                async with standstill(self.graph):
                    return
            await self.make_read_only()


async def start_stream(
    table: Listing,
    node: Node,
    base: Node | None,
    bottom: Node | None,
    options: MergeOptions,
) -> None:
    """Start to stream the images above `base`, or down to `bottom`, into `node` (stream_start).

    :raises QmpError: with QEMU's text; nothing has changed then
    """
    overlay, above = find_overlay(node, base, bottom)
    was_read_only = node.read_only
    if was_read_only:
        # The filter will hold the chain; until then it is to stay as it is.
        freeze_chain(node, above)
        try:
            await set_read_only(node, False)
        finally:
            unfreeze_chain(node, above)
    job: StreamJob | None = None
    top: Node | None = None
    try:
        top = await _insert_filter(node, overlay, options.job.filter_node_name)
        job = await StreamJob.create(table, top, node, overlay, above, options)
        job.was_read_only = was_read_only
        await job.take_nodes(base if bottom is None else bottom.filter_or_backing)
    except BaseException:
        # A reader stays where the filter was, for good: QEMU loses it here.
        if job is not None:
            await job.fail_creation()
        if top is not None:
            await _drop_filter(top)
        if was_read_only:
            with suppress(QmpError):
                await set_read_only(node, True)
        raise
    job.start()


async def _insert_filter(node: Node, bottom: Node, name: str | None) -> Node:
    options = {"driver": "copy-on-read", "file": node.node_name, "bottom": bottom.node_name}
    if name is not None:
        options["node-name"] = name
    top = await insert_node(node, options)
    top.hold()
    top.implicit = name is None
    return top


async def _drop_filter(top: Node) -> None:
    assert isinstance(top.driver, CopyOnRead)
    top.driver.release_bottom()
    await drop_filter(top)
    await release(top)

"""stream, as it was before it had a filter: it works on the image itself.

The image copies on read meanwhile, if all below it is streamed: what guests read need not be copied
again.  The nodes are released, and those that nobody else holds closed, when the job is dismissed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.change.chain import change_backing_name
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import freeze_chain, unfreeze_chain
from qmpd.block.model.completed import completed
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import ALL, NOTHING, WRITE, GraphMod
from qmpd.errors import BlockIOError, QmpError
from qmpd.jobs.merge.stream_work import BASIC, StreamWork, find_overlay

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.options import MergeOptions
    from qmpd.jobs.core.protocols import Listing


class StreamInPlace(StreamWork):
    """A stream on an image without a filter; see `StreamWork`."""

    hold = (BASIC, BASIC | WRITE)
    base_name: str | None = None
    """What the image's header will call its backing file."""
    frozen = False
    """Whether the chain is."""

    async def take_nodes(self, base: Node | None) -> None:
        """Hold the images below.

        :raises GenericError: permissions conflict
        """
        assert self.backend is not None
        assert self.backend.root is not None
        self.backend.root.graph_mod = GraphMod.USED
        async with write_lock(self.graph):
            self.hold_below(base, GraphMod.KEPT)

    @override
    async def run(self) -> None:
        target = self.target
        copies_on_read = self.base_overlay.backing is None
        target.copy_on_read += copies_on_read
        try:
            await super().run()
        finally:
            target.copy_on_read -= copies_on_read

    @override
    async def populate(self, offset: int, count: int) -> None:
        target = self.target
        await completed(target, target.pread_copying(offset, count, prefetch=True), count)

    # Its end

    def _thaw(self) -> None:
        if self.frozen:
            unfreeze_chain(self.target, self.above_base)
            self.frozen = False

    @override
    async def prepare(self) -> None:
        """Change the backing file of the image."""
        self._thaw()
        image = self.target.skip_filters()
        if image.backing is None:
            return
        base = self.above_base.filter_or_backing
        failure = await self.change_backing(image, base)
        name = None if base is None else self.base_name
        try:
            await change_backing_name(image, name, base)
        except BlockIOError as error:
            failure = failure or error
        if failure is not None:
            raise failure

    @override
    async def abort(self) -> None:
        """Let the chain go."""
        self._thaw()

    @override
    async def clean(self) -> None:
        """Make the image read-only again if it was."""
        if self.was_read_only and self.backend is not None:
            self.backend.set_permissions(NOTHING, ALL)
            await self.make_read_only()


async def start_stream_in_place(
    table: Listing, node: Node, base: Node | None, options: MergeOptions
) -> None:
    """Start to stream the images above `base` into `node` (stream_start).

    :raises QmpError: with QEMU's text; nothing has changed then
    """
    overlay, above = find_overlay(node, base, None)
    freeze_chain(node, above)
    was_read_only = False
    try:
        if node.read_only:
            await set_read_only(node, False)
            was_read_only = True
        job = await StreamInPlace.create(table, node, node, overlay, above, options)
    except BaseException:
        if was_read_only:
            with suppress(QmpError):
                await set_read_only(node, True)
        unfreeze_chain(node, above)
        raise
    job.frozen, job.was_read_only = True, was_read_only
    job.base_name = options.backing_file
    if job.base_name is None and base is not None:
        job.base_name = filename(base)
    await job.take_nodes(above.filter_or_backing)
    job.start()

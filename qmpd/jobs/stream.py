"""stream: copying what lies below an image into it, so that the chain becomes shorter."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qmpd.block.backend import BlockBackend
from qmpd.block.chain_change import change_backing_name
from qmpd.block.chain_status import is_allocated_above
from qmpd.block.drivers.copy_on_read import CopyOnRead
from qmpd.block.filename import filename
from qmpd.block.permissions import CONSISTENT_READ, WRITE, WRITE_UNCHANGED
from qmpd.block.request_time import request_time
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.jobs.block_job import BlockJob, ErrorAction, OnError

if TYPE_CHECKING:
    from qmpd.block.node import Node
    from qmpd.jobs.mirror_start import JobOptions
    from qmpd.jobs.table import JobTable

_CHUNK: Final = 512 << 10
_BASIC: Final = CONSISTENT_READ | WRITE_UNCHANGED


class StreamJob(BlockJob):
    """Copies what lies below `node`, down to `base_overlay`, into it.

    :param top: the copy-on-read filter above `node`
    :param above_base: what stands directly on the future backing file
    """

    job_type = "stream"

    def __init__(
        self,
        table: JobTable,
        top: Node,
        node: Node,
        base_overlay: Node,
        above_base: Node,
        options: JobOptions,
        *,
        on_error: OnError,
        backing_file: str | None,
        mask_protocol: bool,
    ) -> None:
        super().__init__(
            table,
            top,
            options.job_id,
            speed=options.speed,
            auto_finalize=options.auto_finalize,
            auto_dismiss=options.auto_dismiss,
        )
        self.graph = node.graph
        self.filter: Node | None = top
        self.target = node
        self.base_overlay = base_overlay
        self.above_base = above_base
        self.on_error = on_error
        self.backing_file = backing_file
        self.mask_protocol = mask_protocol
        self.was_read_only = False
        self._reader: BlockBackend | None = None

    def take_nodes(self, base: Node | None) -> None:
        """Keep others off the images.

        :raises GenericError: somebody objects
        """
        assert self.filter is not None
        self._reader = BlockBackend(
            self.graph, "", self.filter, perm=CONSISTENT_READ, shared=_BASIC | WRITE, queues=False
        )
        self.add_node("active node", self.target, 0, _BASIC | WRITE)
        below = self.target.filter_or_backing
        while below is not None and below is not base:
            self.add_node("intermediate node", below, 0, _BASIC)
            below = below.filter_or_backing

    async def run(self) -> None:
        """See `Job.run`."""
        unfiltered = self.target.skip_filters()
        if unfiltered is self.base_overlay:
            return
        length = self.target.length
        self.progress_total = length
        failure: BlockIOError | None = None
        while self.progress_current < length:
            await self.limit_speed()
            if self.cancelled:
                break
            offset = self.progress_current
            count, copies = min(_CHUNK, length - offset), False
            try:
                count, copies = await self._copy(unfiltered, offset, length)
            except BlockIOError as error:
                action = self.io_failed(self.on_error, error.errno, read=True)
                if action is ErrorAction.STOP:
                    continue
                failure = failure or BlockIOError(error.errno)
                if action is ErrorAction.REPORT:
                    break
            self.progress_current += count
            if copies:
                self.processed(count)
        if failure is not None:
            raise failure

    async def _copy(self, node: Node, offset: int, length: int) -> tuple[int, bool]:
        """Copy a chunk up; returns its length, and whether it had to be copied."""
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
        assert self.filter is not None
        assert isinstance(self.filter.driver, CopyOnRead)
        await self.filter.driver.prefetch(offset, count)
        await request_time(self.target)
        return count, True

    # Its end

    async def _drop_filter(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()
        if self.filter is not None:
            dropped, self.filter = self.filter, None
            assert isinstance(dropped.driver, CopyOnRead)
            dropped.driver.release_bottom()
            await self.graph.drop_filter(dropped)
            await self.graph.release(dropped)

    async def prepare(self) -> None:
        """See `Job.prepare`: the image gets its new backing file, or none."""
        nodes = [edge.node for edge in self.edges]
        for node in nodes:
            node.hold()
        self.remove_nodes()
        await self._drop_filter()
        failure: QmpError | None = None
        unfiltered = self.target.skip_filters()
        base = self.above_base.filter_or_backing
        image = None if base is None else base.skip_filters()
        if unfiltered.backing is not None:
            name = None
            if image is not None:
                name = filename(image) if self.backing_file is None else self.backing_file
            try:
                await self.graph.set_backing(unfiltered, base).commit()
            except QmpError as error:
                self.graph.report(error.desc)
                failure = BlockIOError(errno.EPERM)
            if not unfiltered.read_only:
                await change_backing_name(unfiltered, name, image, mask_protocol=self.mask_protocol)
        for node in nodes:
            await self.graph.release(node)
        if failure is not None:
            raise failure

    async def clean(self) -> None:
        """See `Job.clean`."""
        await self.tear_down()

    async def tear_down(self) -> None:
        """The filter goes, and the image is as read-only as before."""
        self.target.hold()
        nodes = [edge.node for edge in self.edges]
        for node in nodes:
            node.hold()
        self.remove_nodes()
        await self._drop_filter()
        if self.was_read_only:
            with suppress(QmpError):
                await self.target.set_read_only(True)
        for node in nodes:
            await self.graph.release(node)
        await self.graph.release(self.target)


async def start_stream(
    table: JobTable,
    node: Node,
    base: Node | None,
    bottom: Node | None,
    options: JobOptions,
    *,
    on_error: OnError,
    backing_file: str | None,
    mask_protocol: bool,
) -> None:
    """Start to stream what lies above `base`, or down to `bottom`, into `node`.

    :raises QmpError: QEMU's texts; nothing has changed then
    """
    graph = node.graph
    overlay = node.overlay_of(base) if bottom is None else bottom
    if overlay is None:
        name = "" if base is None else base.node_name
        raise GenericError(f"'{name}' is not in the backing chain of '{node.node_name}'")
    above = overlay
    if bottom is None and overlay.backing is not base:
        below = overlay.backing
        while below is not None and below.filter_or_backing is not base:
            below = below.filter_or_backing
        above = below or overlay
    was_read_only = node.read_only
    if was_read_only:
        await node.set_read_only(False)
    filter_options = {"driver": "copy-on-read", "file": node.node_name}
    filter_options["bottom"] = overlay.node_name
    if options.filter_node_name is not None:
        filter_options["node-name"] = options.filter_node_name
    job: StreamJob | None = None
    top: Node | None = None
    try:
        top = await graph.open(filter_options)
        top.hold()
        top.implicit = options.filter_node_name is None
        await graph.drained_begin(node)
        try:
            await graph.replace_node(node, top).commit()
        finally:
            graph.drained_end(node)
        job = StreamJob(
            table,
            top,
            node,
            overlay,
            above,
            options,
            on_error=on_error,
            backing_file=backing_file,
            mask_protocol=mask_protocol,
        )
        job.was_read_only = was_read_only
        job.take_nodes(base if bottom is None else bottom.filter_or_backing)
    except BaseException:
        if job is not None:
            await job.tear_down()
            job.fail_creation()
        elif top is not None:
            assert isinstance(top.driver, CopyOnRead)
            top.driver.release_bottom()
            await graph.drop_filter(top)
            await graph.release(top)
        if was_read_only and job is None:
            await node.set_read_only(True)
        raise
    job.start()
    await job.settle()

"""commit: merging images of a chain into one below them.

This job is for images that nobody writes; the active layer is committed by a mirror
(`qmpd.jobs.mirror.start`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qmpd.base.override import override
from qmpd.block.change.chain import drop_intermediate
from qmpd.block.change.closing import release
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.insert import drop_filter, insert_filter
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import freeze_chain, unfreeze_chain
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.chain_status import block_status_above
from qmpd.block.io.straight import copy
from qmpd.block.model.completed import completed
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    NOTHING,
    RESIZE,
    WRITE,
    WRITE_UNCHANGED,
)
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.jobs.core.block_job import BlockJob
from qmpd.jobs.core.merged_nodes import hold_merged
from qmpd.jobs.core.states import ErrorAction

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.options import MergeOptions
    from qmpd.jobs.core.protocols import Listing

_CHUNK: Final = 512 << 10


class CommitJob(BlockJob):
    """Copies the data of the images from `top` down to, but not including, `base` into `base`.

    :param node: the active layer, which the job is named after
    """

    job_type = "commit"

    def __init__(
        self,
        table: Listing,
        node: Node,
        top: Node,
        base: Node,
        options: MergeOptions,
    ) -> None:
        super().__init__(table, node, options.job)
        self.graph = node.graph
        self.top = top
        self.base = base
        self.options = options
        self.filter: Node | None = None
        self.frozen = False
        self.base_was_read_only = False
        self.base_overlay = top.overlay_of(base)
        self._target: BlockBackend | None = None
        self._reader: BlockBackend | None = None

    async def set_up(self) -> None:
        """Insert the filter and hold the images.

        :raises QmpError: permissions conflict; call `give_up`
        """
        top, base = self.top, self.base
        self.base_was_read_only = base.read_only
        if base.read_only:
            await set_read_only(base, False)
        filter_node_name = self.options.job.filter_node_name
        name = {} if filter_node_name is None else {"node-name": filter_node_name}
        options = {"driver": "commit_top", "read-only": True, **name}
        self.filter = await insert_filter(top, options, implicit=filter_node_name is None)
        self.filter.hold()
        async with write_lock(self.graph):
            hold_merged(self, top, base, self.base_overlay)
            freeze_chain(self.filter, base)
            self.frozen = True
            self.add_node("base", base, NOTHING, ALL)
        perm = CONSISTENT_READ | WRITE | (RESIZE if base.length < top.length else NOTHING)
        self._target = await BlockBackend.in_context(
            self.aio_context,
            base,
            perm=perm,
            shared=CONSISTENT_READ | WRITE_UNCHANGED,
            queues=False,
        )
        self._reader = await BlockBackend.in_context(self.aio_context, top)

    @override
    async def run(self) -> None:
        assert self._target is not None
        length = self.top.length
        self.progress.total = length
        if self._target.length() < length:
            await self._target.truncate(length, exact=False)
        while self.progress.current < length:
            await self.limit_speed()
            if self.cancelled:
                return
            try:
                count, copied = await self._copy(self.progress.current, length)
            except BlockIOError as error:
                policy, read = self.options.on_error, self._reading
                if self.io_failed(policy, error.errno, read=read) is ErrorAction.REPORT:
                    raise BlockIOError(error.errno) from None
                continue
            self.progress.current += count
            if copied:
                self.processed(count)
            else:
                self.passed_over()

    _reading = True

    def _has_read(self) -> None:
        self._reading = False

    async def _copy(self, offset: int, length: int) -> tuple[int, bool]:
        """Copy a chunk; returns its length and whether there was data to copy."""
        assert self._target is not None
        self._reading = True
        status = await block_status_above(
            self.top, self.base_overlay, offset, min(_CHUNK, length - offset), include_base=True
        )
        count = status.length
        if not status.allocated:
            return count, False
        if status.zero and self.graph.services.manners.commits_write_zeroes:
            self._has_read()
            zeroes = self._target.pwrite_zeroes(offset, count, may_unmap=True)
            await completed(self.base, zeroes, count)
            return count, True
        await copy(self.top, self._target, offset, count, self._has_read)
        return count, True

    # Its end

    async def _let_go(self) -> None:
        """Unfreeze the chain and release the base."""
        if self.frozen and self.filter is not None:
            unfreeze_chain(self.filter, self.base)
            self.frozen = False
        if self._target is not None:
            target, self._target = self._target, None
            self.base.hold()
            await target.close()
            self.base.unhold()

    @override
    async def prepare(self) -> None:
        """Remove the images that were merged from the chain."""
        assert self.filter is not None
        self.base.hold()
        await self._let_go()
        try:
            await drop_intermediate(
                self.graph,
                self.filter,
                self.base,
                self.options.backing_file,
                mask_protocol=self.options.mask_protocol,
            )
        finally:
            dropped, self.filter = self.filter, None
            await release(dropped)
            await release(self.base)

    async def _drop_reader(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()

    @override
    async def abort(self) -> None:
        """Remove the filter; the chain stays as it was."""
        await self._let_go()
        if self.filter is None:
            return
        async with self.nodes_let_go():
            dropped, self.filter = self.filter, None
            await drop_filter(dropped)
            await release(dropped)

    async def give_up(self) -> None:
        """Forget the job, which `set_up` has refused: its filter goes last."""
        await self._let_go()
        await self._drop_reader()
        if self.base_was_read_only:
            with suppress(QmpError):
                await set_read_only(self.base, True)
        await self.fail_creation()
        if self.filter is not None:
            dropped, self.filter = self.filter, None
            await drop_filter(dropped)
            await release(dropped)

    @override
    async def clean(self) -> None:
        """Make the base read-only again if it was."""
        if self.base_was_read_only and self.graph.find_node(self.base.node_name) is self.base:
            with suppress(QmpError):
                await set_read_only(self.base, True)
        await self._drop_reader()


async def start_commit(
    table: Listing,
    node: Node,
    top: Node,
    base: Node,
    options: MergeOptions,
) -> None:
    """Start a commit of `top`, which is below the active layer `node`, into `base` (commit_start).

    :raises QmpError: with QEMU's text; nothing has changed then
    """
    if top.skip_filters() is base.skip_filters():
        raise GenericError("Invalid files for merge: top and base are the same")
    job = await CommitJob.create(table, node, top, base, options)
    try:
        await job.set_up()
    except BaseException:
        await job.give_up()
        raise
    job.start()

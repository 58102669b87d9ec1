"""The end of a mirror: the target may replace the source, and the filter is removed."""

from __future__ import annotations

import errno
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.change.closing import release
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.insert import change_backing
from qmpd.block.change.permissions import loosen_permissions
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import replace_node, unfreeze_chain
from qmpd.block.model.blockers import Blocker
from qmpd.block.permission_bits import ALL, NOTHING
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.jobs.mirror.mirror import MirrorWork

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class Backing(Enum):
    """What happens to the target's backing file in the end (BlockMirrorBackingMode)."""

    LEAVE = auto()
    SOURCE = auto()
    """It gets the source's."""
    OPEN = auto()
    """It gets the one that its own header names."""


class MirrorJob(MirrorWork):
    """The mirror job.

    `replaces` is the name of the node that the target replaces on completion, None for
    the source.
    """

    backing_at_end = Backing.LEAVE
    replaces: str | None = None
    frozen: Node | None = None
    target_was_read_only = False
    _to_replace: Node | None = None
    _replace_blocker: Blocker | None = None
    _left = False

    @override
    async def complete_work(self) -> None:
        """Complete the job; the node to replace is kept until then.

        :raises GenericError: that node no longer exists
        """
        if self.backing_at_end is Backing.OPEN and self._opens_early:
            await self._open_backing(self.target_node)
        if self.replaces is not None and self._to_replace is None:
            node = self.graph.find_node(self.replaces)
            if node is None:
                raise GenericError(f"Node name '{self.replaces}' not found")
            self._to_replace = node
            self._replace_blocker = Blocker("block device is in use by block-job-complete")
            node.blockers.add(self._replace_blocker)
            node.hold()
        await super().complete_work()

    @override
    async def prepare(self) -> None:
        await self._leave()

    @override
    async def abort(self) -> None:
        await self._leave()

    async def give_up(self) -> None:
        """Release everything: the job could not be started."""
        if self.state.backend is not None:
            await self.target.close()
        await self.fail_creation()

    async def _leave(self) -> None:
        if self._left:
            return
        self._left = True
        graph, top, source, target = self.graph, self.top, self.source, self.target_node
        aborting = self.error is not None
        if self.frozen is not None:
            unfreeze_chain(top, self.frozen)
        if self.bitmap in self.state.marked.bitmaps:
            self.state.marked.bitmaps.remove(self.bitmap)
        held = [source, top, target]
        for node in held:
            node.hold()
        failure: BlockIOError | None = None
        # Who still writes to the target must go before it can stand where the source stood.
        await self.target.close()
        await drained_begin(top)
        await drained_begin(target)
        self.filter.stop()
        loosen_permissions(top)
        if not aborting:
            failure = await self._arrange(source, target)
        elif self.target_was_read_only and not target.read_only:
            await _try_read_only(target, True)
        if self._to_replace is not None and self._replace_blocker is not None:
            self._to_replace.blockers.remove(self._replace_blocker)
            held.append(self._to_replace)
        await self.remove_nodes()
        # What stands below the filter now, which may be the target.
        async with write_lock(graph, brief=True):
            change = replace_node(top, self.filter.source)
        await change.commit()
        if self.backend is not None:
            # It has gone where the filter was; the filter stays until the job is dismissed.
            await self.backend.remove_node()
            self.backend.set_permissions(NOTHING, ALL)
            await self.backend.insert_node(top)
        drained_end(target)
        drained_end(top)
        if self.in_drain:
            drained_end(source)
            self.in_drain = False
        for node in held:
            await release(node)
        if failure is not None:
            raise failure

    async def _arrange(self, source: Node, target: Node) -> BlockIOError | None:
        """Give the target its backing file, and the place of the source if it is to have it.

        Where the one cannot be done the other is.

        :returns: what the job fails with
        """
        failure: BlockIOError | None = None
        try:
            await self._set_backing(source, target)
        except QmpError as error:
            self._report(error)
            opens = self.backing_at_end is Backing.OPEN
            failure = BlockIOError(errno.EINVAL if opens else errno.EPERM)
        if self.completing:
            try:
                await self._replace(source, target)
            except QmpError as error:
                self._report(error)
                failure = BlockIOError(errno.EPERM)
        return failure

    def _report(self, error: QmpError) -> None:
        self.graph.services.say.report(error.report.removesuffix("\n"))

    async def _set_backing(self, source: Node, target: Node) -> None:
        unfiltered = target.skip_filters()
        if self.backing_at_end is Backing.SOURCE:
            backing = source if self.plan.none else self.plan.base
            if unfiltered.backing is not backing:
                await change_backing(unfiltered, backing)
        elif self.backing_at_end is Backing.OPEN and not self._opens_early:
            await self._open_backing(target)

    @property
    def _opens_early(self) -> bool:
        return self.table.manners.mirrors_open_backing_when_completed

    async def _open_backing(self, target: Node) -> None:
        """Open the backing file that the target's header names.

        :raises QmpError: it cannot be opened
        """
        unfiltered = target.skip_filters()
        if unfiltered.backing is None:
            await unfiltered.driver.open_backing({})

    async def _replace(self, source: Node, target: Node) -> None:
        replaced = source if self._to_replace is None else self._to_replace
        if replaced.read_only != target.read_only:
            await _try_read_only(target, replaced.read_only)
        if not source.can_replace(replaced):
            raise GenericError(
                f"Can no longer replace '{replaced.node_name}' by '{target.node_name}', because"
                " it can no longer be guaranteed that doing so would not lead to an abrupt change"
                " of visible data"
            )
        await drained_begin(replaced)
        try:
            async with write_lock(self.graph, brief=True):
                change = replace_node(replaced, target)
            await change.commit()
        finally:
            drained_end(replaced)


class ActiveCommitJob(MirrorJob):
    """The commit of an active layer into its backing file."""

    job_type = "commit"
    can_change = False
    may_grow_target = True

    @override
    def more_info(self) -> dict[str, object]:
        return {}


async def _try_read_only(node: Node, read_only: bool) -> None:
    """Make a node read-only, or no longer; QEMU does not look whether it could."""
    with suppress(QmpError):
        await set_read_only(node, read_only)

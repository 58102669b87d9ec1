"""backup-top: the filter above a backup's source, before it was copy-before-write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.edges import attach_child
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.change.replace import remove_filter
from qmpd.block.drivers.filters.filter import JobFilter
from qmpd.block.drivers.filters.saving import SavingFilter
from qmpd.block.io.block_copy import BlockCopyState
from qmpd.block.io.block_copy_call import block_copy
from qmpd.block.model.traits import Capabilities
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    DATA,
    FILTERED,
    NOTHING,
    RESIZE,
    WRITE,
    Perm,
    Permissions,
    Role,
)

if TYPE_CHECKING:
    from qmpd.block.io.progress import ProgressMeter
    from qmpd.block.model.node import Node


class BackupTop(SavingFilter, JobFilter):
    """Copies what a write is about to change from its `backing` child to its `target`.

    It asks for nothing until it stands above its source (`begin`), and for nothing of it when the
    job is at its end (`drop`).
    """

    format_name = "backup-top"
    shape = replace(JobFilter.shape, never_freeze=False)
    capabilities = Capabilities(write_zeroes=True, discard=True, flushes_children=True)

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._active = False
        self._writes = False
        """Whether it asks for its target, which it does once somebody holds it."""

    @classmethod
    async def open_for_job(cls, node: Node, options: Mapping[str, Any], *, target: Node) -> Self:
        """Open the filter for a job; its source comes when it is put above it.

        :raises QmpError: the target cannot be a child
        """
        driver = cls(node)
        node.driver = driver
        attach_child(node, "target", target, DATA)
        return driver

    def begin(self, progress: ProgressMeter, *, compress: bool) -> None:
        """Ask for the source, now that it is the filtered child.

        :param progress: told of what is done, in bytes
        :param compress: what is copied is written compressed
        :raises QmpError: others do not share it
        """
        self._active = True
        refresh_permissions(self.node)
        self._writes = True
        target = self.node.children["target"].node
        self.copy = BlockCopyState(self.filtered, target, compress=compress, progress=progress)
        self.copy.copy_bitmap.clear()
        self.filtered.bitmaps.add(self.copy.copy_bitmap)

    async def drop(self) -> None:
        """Stand above the source no more (``bdrv_backup_top_drop``).

        Of the target it goes on asking what it has got.
        """
        node = self.node
        await drained_begin(node)
        if self._writes:
            self.filtered.bitmaps.remove(self.copy.copy_bitmap)
        self._active = False
        self._writes = bool(node.children["target"].perm)
        loosen_permissions(node)
        async with write_lock(node.graph):
            change = remove_filter(node)
        await change.commit()
        drained_end(node)

    @classmethod
    @override
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        driver = node.driver
        assert isinstance(driver, BackupTop)
        if role & FILTERED:
            if not driver._active:
                return NOTHING, ALL
            perm, shared = super().child_permissions(node, role, perm, shared)
            if perm & WRITE:
                perm |= CONSISTENT_READ
            return perm, shared & ~(WRITE | RESIZE)
        return (WRITE, ALL & ~RESIZE) if driver._writes else (NOTHING, ALL)

    @override
    def exact_filename(self) -> str | None:
        """The name of the source, while there is one.

        A backup that has ended keeps its filter, without a source, until it is dismissed: queries
        are answered then, too.  QEMU 5.2 dies of them.
        """
        return super().exact_filename() if "backing" in self.node.children else None

    @override
    def allocated_size(self) -> int | None:
        """That of the source; the target does not count."""
        below = self.node.filter_or_backing
        return None if below is None else below.driver.allocated_size()

    @override
    async def save(self, offset: int, length: int) -> None:
        """Copy an area to the target, except what is there already."""
        await block_copy(self.copy, offset, length)

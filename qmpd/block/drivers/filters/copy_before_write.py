"""copy-before-write: a filter that copies old data to a target before it is overwritten."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from qmpd.base.override import override
from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.rules import lookup
from qmpd.block.change.opening import open_child
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.drivers.filters.saving import SavingFilter
from qmpd.block.io.block_copy import BlockCopyState, CopyFailed
from qmpd.block.io.block_copy_call import block_copy
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    DATA,
    FILTERED,
    RESIZE,
    WRITE,
    Perm,
    Permissions,
    Role,
)
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.loop.task import Task, Waiter
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.io.progress import ProgressMeter
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.node import Node


_ACTIONS: Final = ("break-guest-write", "break-snapshot")
_OPTIONS: Final = {
    "on-cbw-error": Kind.STRING,
    "cbw-timeout": Kind.NUMBER,
    "min-cluster-size": Kind.SIZE,
}


def _missing(name: str) -> GenericError:
    return GenericError(f"Parameter '{name}' is missing")


class CopyBeforeWrite(SavingFilter, Filter):
    """Copies what a write is about to change to `target`, for a snapshot-access node to read.

    `access`: areas of the snapshot that may be read.  `done`: those already in the target.
    """

    format_name = "copy-before-write"
    shape = replace(Filter.shape, depends_on_parents=True, options_first=True)
    capabilities = replace(Filter.capabilities, flushes_children=True)
    discard_source = False

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.access: DirtyBitmap
        self.done: DirtyBitmap
        self.snapshot_error: int | None = None
        self.breaks_snapshot = False
        self.timeout = 0
        self._marked = node
        """Whose bitmap says what is to be copied."""
        self._readers: list[tuple[int, int, list[Waiter]]] = []

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        return await cls.open_for_job(node, options)

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        if "file" not in flat:
            raise _missing("file")
        target, bitmap = flat.child("target"), flat.extract("bitmap")
        if not target.is_given:
            raise _missing("target")
        if target.reference is None and "driver" not in target.options:
            raise _missing("target.driver")
        for name in ("node", "name"):
            if bitmap and name not in bitmap:
                raise _missing(f"bitmap.{name}")
        options = {"target": target, **flat.take(_OPTIONS)}
        if (action := options.get("on-cbw-error", _ACTIONS[0])) not in _ACTIONS:
            raise GenericError(f"Parameter 'on-cbw-error' does not accept value '{action}'")
        if left := flat.keys() - {"file"} or bitmap.keys() - {"node", "name"}:
            raise GenericError(f"Parameter '{min(left)}' is unexpected")
        return options | ({"bitmap": dict(bitmap)} if bitmap else {})

    @classmethod
    async def open_for_job(
        cls,
        node: Node,
        options: Mapping[str, Any],
        *,
        compress: bool = False,
        progress: ProgressMeter | None = None,
    ) -> Self:
        """Open the filter for a job that copies the rest (``bdrv_cbw_append``).

        :param compress: what is copied is written compressed
        :param progress: told of what is done and what is left, in bytes
        :raises QmpError: QEMU's text
        """
        driver = cls(node)
        node.driver = driver
        driver.discard_source = options.get("discard-source", False)
        target = await open_child(node, "target", options["target"], role=DATA)
        bitmap = None
        if (named := options.get("bitmap")) is not None:
            _, bitmap = lookup(node.graph, named["node"], named["name"])
        driver.breaks_snapshot = options.get("on-cbw-error") == "break-snapshot"
        driver.timeout = options.get("cbw-timeout", 0) * 1_000_000_000
        file = driver.filtered
        try:
            driver.copy = BlockCopyState(
                file,
                target,
                bitmap,
                min_cluster_size=options.get("min-cluster-size", 0),
                compress=compress,
                discard_source=driver.discard_source,
                progress=progress,
            )
        except QmpError as error:
            raise error.prefixed("Cannot create block-copy-state: ") from error
        size = driver.copy.cluster_size
        driver.done = DirtyBitmap(file.length, size, enabled=False)
        driver.access = DirtyBitmap(file.length, size, enabled=False)
        driver.access.merge_from(driver.copy.copy_bitmap)
        driver._marked = file if node.services.manners.copies_mark_the_source else node
        driver._marked.bitmaps.add(driver.copy.copy_bitmap)
        for bitmap in (driver.done, driver.access):
            node.bitmaps.add(bitmap)
        return driver

    @override
    async def close(self) -> None:
        for bitmap in (self.access, self.done):
            if bitmap in self.node.bitmaps:
                self.node.bitmaps.remove(bitmap)
        if self.copy.copy_bitmap in self._marked.bitmaps:
            self._marked.bitmaps.remove(self.copy.copy_bitmap)

    @property
    def target(self) -> Node:
        """The node that gets the old data."""
        return self.node.children["target"].node

    @override
    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """Share no writes while the filter has a parent (cbw_child_perm)."""
        if not role & FILTERED:
            return WRITE, ALL & ~RESIZE
        perm, shared = super().child_permissions(node, role, perm, shared)
        if node.parents:
            if perm & WRITE or not node.services.manners.copies_read_to_write:
                perm |= CONSISTENT_READ
            if isinstance(node.driver, CopyBeforeWrite) and node.driver.discard_source:
                perm |= WRITE
            shared &= ~(WRITE | RESIZE)
        return perm, shared

    def exact_filename(self) -> str | None:
        """The name of the filtered child, whatever that is."""
        return filename(self.filtered)

    # What guests do

    @override
    async def save(self, offset: int, length: int) -> None:
        """Copy an area to the target, except what is there already (cbw_do_copy_before_write).

        :raises BlockIOError: it failed, and on-cbw-error=break-guest-write fails the guest's write
        """
        if self.snapshot_error is not None:
            return
        try:
            await self._copy(offset, length)
        except BlockIOError as error:
            if not self.breaks_snapshot:
                raise
            if self.snapshot_error is None:
                self.snapshot_error = error.errno
        else:
            self.done.set(offset, length)
        await self._wait_for_readers(offset, offset + length)

    async def _copy(self, offset: int, length: int) -> None:
        if not self.timeout:
            await block_copy(self.copy, offset, length)
            return
        clock = self.node.services.loop
        waiter = Waiter()
        self.node.in_flight += 1

        def ended(task: Task) -> None:
            self.node.request_ended()
            waiter.wake()

        task = clock.enter(block_copy(self.copy, offset, length), "copy before write", ended)
        timer = clock.call_later(self.timeout, waiter.wake)
        await waiter
        timer.cancel()
        if not task.done:
            raise BlockIOError(errno.ETIMEDOUT)
        if task.error is not None:
            assert isinstance(task.error, CopyFailed)
            raise task.error

    # What snapshot-access sees

    async def _wait_for_readers(self, start: int, end: int) -> None:
        while True:
            reader = next((r for r in self._readers if r[0] < end and start < r[1]), None)
            if reader is None:
                return
            waiter = Waiter()
            reader[2].append(waiter)
            await waiter

    def _place(self, offset: int, length: int) -> tuple[Node, int]:
        """The node that has the snapshot's data at `offset`, and for how many bytes that holds.

        :raises BlockIOError: EACCES for what may not be read, or is lost
        """
        if self.snapshot_error is not None or not self.access.all_dirty(offset, length):
            raise BlockIOError(errno.EACCES)
        if self.done.is_dirty(offset):
            end = self.done.next_clean(offset)
            node = self.target
        else:
            end = self.done.next_dirty(offset)
            node = self.filtered
        return node, length if end is None else min(length, end - offset)

    async def snapshot_read(self, offset: int, length: int) -> bytes:
        """Read the disk as it was when the filter was inserted.

        :raises BlockIOError: EACCES for what may not be read, or is lost
        """
        pieces = []
        while length > 0:
            node, count = self._place(offset, length)
            reader: tuple[int, int, list[Waiter]] = (offset, offset + count, [])
            if node is not self.target:
                self._readers.append(reader)
            try:
                pieces.append(await node.pread(offset, count))
            finally:
                if reader in self._readers:
                    self._readers.remove(reader)
                for waiter in reader[2]:
                    waiter.wake()
            offset, length = offset + count, length - count
        return b"".join(pieces)

    async def snapshot_block_status(self, offset: int, length: int) -> BlockStatus:
        """Block status of an area when the filter was inserted."""
        node, count = self._place(offset, length)
        return await node.block_status(offset, count)

    async def snapshot_discard(self, offset: int, length: int) -> None:
        """Drop an area of the snapshot: it is no longer copied and can no longer be read."""
        size = self.copy.cluster_size
        start, end = -(-offset // size) * size, (offset + length) // size * size
        if end <= start:
            return
        self.access.reset(start, end - start)
        self.copy.reset(start, end - start)
        await self.target.pdiscard(start, end - start)

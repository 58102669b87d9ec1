"""mirror_top: the filter above a mirror's source, which reports writes to the job."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from qmpd.base.override import override
from qmpd.block.drivers.filters.filter import JobFilter
from qmpd.block.model.traits import Capabilities
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, WRITE, Perm, Permissions, Role

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node


@dataclass(frozen=True, slots=True)
class Change:
    """A guest's change of ``offset .. offset + length - 1``.

    `data` is None for a write of zeroes or a discard; `discard` tells which.
    """

    offset: int
    length: int
    data: bytes | None = None
    discard: bool = False
    may_unmap: bool = False
    fua: bool = False

    def narrowed(self, offset: int, length: int) -> Change:
        """The part of the change from `offset`, `length` bytes."""
        start = offset - self.offset
        data = None if self.data is None else self.data[start : start + length]
        return Change(offset, length, data, self.discard, self.may_unmap, self.fua)

    async def apply(self, node: Node | BlockBackend) -> None:
        """Apply the change to `node`.

        :raises BlockIOError: it fails
        """
        if self.data is not None:
            await node.pwrite(self.offset, self.data, fua=self.fua)
        elif self.discard:
            await node.pdiscard(self.offset, self.length)
        else:
            await node.pwrite_zeroes(
                self.offset, self.length, may_unmap=self.may_unmap, fua=self.fua
            )


class Mirroring(Protocol):
    """A job that is told about every change of its source."""

    @property
    def copies_writes(self) -> bool:
        """Whether a guest waits for its change to reach the target (copy-mode=write-blocking)."""

    def missed(self, offset: int, length: int) -> None:
        """Mark an area dirty: the source has, or may have, changed there."""

    async def write_both(self, change: Change, on_source: Coroutine[Any, Any, None]) -> None:
        """Change the source by `on_source`, then the target.

        :raises BlockIOError: the error of the source
        """


class MirrorTop(JobFilter):
    """Passes requests on to its `backing` child and reports changes to the job.

    `stopped`: the job is ending and takes no permissions any more.  `is_commit`:
    the target is in the chain below, so the job's own writes there must be shared.
    """

    format_name = "mirror_top"
    capabilities = Capabilities(write_zeroes=True, discard=True, flushes_children=True)

    def __init__(self, node: Node, *, is_commit: bool) -> None:
        super().__init__(node)
        self.is_commit = is_commit
        self.stopped = False
        self._job: Mirroring | None = None

    @classmethod
    async def open_for_job(cls, node: Node, options: Mapping[str, Any], *, is_commit: bool) -> Self:
        """Open the filter for a job.

        :param is_commit: the target is below the filter
        """
        return cls(node, is_commit=is_commit)

    def tell(self, job: Mirroring) -> None:
        """Have `job` told of every change from now on."""
        self._job = job

    def stop(self) -> None:
        """The job is at its end: nobody is told, and nothing is asked of the child any more."""
        self._job = None
        self.stopped = True

    @override
    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        driver = node.driver
        assert isinstance(driver, MirrorTop)
        if driver.stopped:
            return NOTHING, ALL
        if node.services.manners.mirror_filters_ask_for_little:
            return perm & WRITE, ALL
        perm, shared = super().child_permissions(node, role, perm, shared)
        if driver.is_commit:
            # Nothing above the base of a commit reads consistently, and the job writes there.
            return perm & ~CONSISTENT_READ, shared | WRITE
        return perm, shared

    @property
    def source(self) -> Node:
        """The filtered node."""
        return self.filtered

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Resize the source."""
        await self.source.truncate(size, exact=exact, prealloc=prealloc)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        # The target must get what the source gets, whatever becomes of the buffer.
        data = bytes(data) if self._job is not None and self._job.copies_writes else data
        on_source = self.source.pwrite(offset, data, fua=fua)
        if isinstance(data, bytes):
            await self._change(Change(offset, len(data), data, fua=fua), on_source)
        else:
            await self._change(Change(offset, len(data)), on_source)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        # What may be unmapped is not passed on.
        on_source = self.source.pwrite_zeroes(offset, length)
        await self._change(Change(offset, length), on_source)

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        on_source = self.source.pdiscard(offset, length)
        await self._change(Change(offset, length, discard=True), on_source)

    async def _change(self, change: Change, on_source: Coroutine[Any, Any, None]) -> None:
        job = self._job
        if job is not None and job.copies_writes:
            await job.write_both(change, on_source)
            return
        try:
            await on_source
        finally:
            if self._job is not None:
                self._job.missed(change.offset, change.length)

"""snapshot-access: the disk as it was when the copy-before-write filter below was inserted."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.block.drivers.filters.copy_before_write import CopyBeforeWrite
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.filename import filename
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import ALL, DATA, NOTHING, PRIMARY, Perm, Permissions, Role
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.block.model.node import Node


class SnapshotAccess(BlockDriver):
    """Reads and discards the snapshot; writes fail."""

    format_name = "snapshot-access"
    shape = Shape(file_child=True)
    capabilities = Capabilities(write_zeroes=True, discard=True)

    @override
    @classmethod
    def file_role(cls, options: Mapping[str, Any]) -> Role:
        return DATA | PRIMARY

    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """Requires no permissions: the copy-before-write filter below already holds them."""
        return NOTHING, ALL

    @property
    def file(self) -> Node:
        """The `file` child."""
        return self.node.children["file"].node

    @property
    def snapshot(self) -> CopyBeforeWrite:
        """The copy-before-write driver that provides the snapshot.

        :raises BlockIOError: ENOTSUP if the node below is not such a filter
        """
        driver = self.file.driver
        if not isinstance(driver, CopyBeforeWrite):
            raise BlockIOError(errno.ENOTSUP)
        return driver

    @override
    def get_length(self) -> int:
        return self.file.length

    def exact_filename(self) -> str | None:
        """The name of the child, whatever that is."""
        return filename(self.file)

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        return await self.snapshot.snapshot_read(offset, length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Snapshots cannot be written."""
        raise BlockIOError(errno.ENOTSUP)

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        await self.snapshot.snapshot_discard(offset, length)

    @override
    async def block_status(self, offset: int, length: int) -> BlockStatus:
        return await self.snapshot.snapshot_block_status(offset, length)

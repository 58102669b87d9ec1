"""commit_top: the filter above the images of a commit, which lets the job write below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import ALL, NOTHING, Perm, Permissions, Role

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class CommitTop(BlockDriver):
    """Reads go to its `backing` child, of which nothing is asked."""

    format_name = "commit_top"
    is_filter = True
    filtered_child_is_backing = True
    never_freeze = True

    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """See `BlockDriver.child_permissions`."""
        return NOTHING, ALL

    @property
    def below(self) -> Node:
        """What it filters."""
        return self.node.children["backing"].node

    def get_length(self) -> int:
        """See `BlockDriver.get_length`."""
        return self.below.length if "backing" in self.node.children else 0

    def exact_filename(self) -> str | None:
        """The name of what is below, whatever it is."""
        return filename(self.below)

    @property
    def has_info(self) -> bool:  # type: ignore[override]
        """QEMU asks the filtered child."""
        return self.below.driver.has_info

    def cluster_size(self) -> int | None:
        """As the child has."""
        return self.below.driver.cluster_size()

    async def info_members(self) -> dict[str, Any]:
        """What the child tells of its clusters."""
        members = await self.below.driver.info_members()
        return {name: members[name] for name in ("cluster-size", "dirty-flag") if name in members}

    async def pread(self, offset: int, length: int) -> bytes:
        """See `BlockDriver.pread`."""
        return await self.below.pread(offset, length)

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """That of what is below."""
        return await self.below.block_status(offset, length)

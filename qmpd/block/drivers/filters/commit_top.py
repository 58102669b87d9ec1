"""commit_top: the filter that block-commit inserts above the images it merges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.drivers.filters.filter import JobFilter
from qmpd.block.permission_bits import ALL, NOTHING, Perm, Permissions, Role

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class CommitTop(JobFilter):
    """Passes reads on to its `backing` child and takes no permissions on it."""

    format_name = "commit_top"

    @classmethod
    @override
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        return NOTHING, ALL

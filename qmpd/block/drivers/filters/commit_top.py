"""commit_top: the filter above the images of a commit, which lets the job write below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.drivers.filters.filter import JobFilter
from qmpd.block.permission_bits import ALL, NOTHING, Perm, Permissions, Role

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class CommitTop(JobFilter):
    """Reads go to its `backing` child, of which nothing is asked."""

    format_name = "commit_top"

    @classmethod
    @override
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        return NOTHING, ALL

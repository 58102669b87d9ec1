"""An edge of the block graph: one parent's hold on one node (QEMU's BdrvChild)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmpd.block.permissions import ALL

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.block.node import Node


@dataclass(slots=True, eq=False)
class Edge:
    """A parent's hold on a node.

    `name` is the child's name there, `role` what it holds for the parent (see
    `qmpd.block.permissions`), `perm` and `shared` what the parent does and lets others do.
    """

    name: str
    parent: Node | BlockBackend
    node: Node
    role: int = 0
    perm: int = 0
    shared: int = ALL

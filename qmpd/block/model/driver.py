"""The base of all block drivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qmpd.base.override import override
from qmpd.base.qdict import QDict
from qmpd.block.model.interface import DriverInterface
from qmpd.block.model.node import Node
from qmpd.block.permission_bits import (
    DATA,
    FILTERED,
    METADATA,
    Perm,
    Permissions,
    Role,
    default_child_permissions,
)
from qmpd.errors import GenericError


class BlockDriver(DriverInterface[Node]):
    """Base class of block drivers, with what most of them do by way of their node's children."""

    @classmethod
    @override
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        flags = node.flags
        return default_child_permissions(
            role,
            perm,
            shared,
            writable=not flags.read_only and flags.active,
            active=flags.active,
        )

    @override
    def allocated_size(self) -> int | None:
        if not self.capabilities.allocated_size:
            return None
        total = 0
        for edge in self.node.children.values():
            if edge.role & (DATA | METADATA | FILTERED):
                size = edge.node.driver.allocated_size()
                if size is None:
                    return None
                total += size
        return total

    @override
    def listed_children(self) -> list[Node]:
        return [edge.node for edge in self.node.children.values()]

    @override
    def check_can_store_bitmap(self, name: str, granularity: int) -> None:
        raise GenericError(
            f"Can't store persistent bitmaps to {self.node.device_or_node_name}:"
            " Operation not supported"
        )


def check_sizes(options: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse sizes below zero, which QEMU cannot parse (``parse_option_size``).

    :param names: the options that are sizes
    :raises GenericError: for the first in the order of the options
    """
    for name, value in QDict(options).items():
        if name in names and value < 0:
            raise GenericError(f"Value '{value}' is out of range for parameter '{name}'")

"""Drivers whose children come and go (x-blockdev-change)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.model.node import Edge, Node


class ChildList(ABC):
    """What a driver has beside `BlockDriver` if its nodes can get and lose children."""

    @abstractmethod
    def check_add_child(self) -> None:
        """Whether a child may be added now.

        :raises GenericError: why not
        """

    @abstractmethod
    def add_child(self, child: Node) -> None:
        """Take a new child in (``bdrv_add_child``).

        :raises GenericError: its parents object
        """

    @abstractmethod
    def del_child(self, edge: Edge) -> Node:
        """Let a child go, without closing it; returns it (``bdrv_del_child``).

        :raises GenericError: too few would be left
        """

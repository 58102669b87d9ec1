"""What exports need of the machine they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from qmpd.block.graph import Graph
    from qmpd.export.table import BlockExports


class NbdServer(Protocol):
    """A running NBD server, as commands see it."""

    max_connections: int
    """Clients at a time, 0 for any number."""

    async def close(self) -> None:
        """Stop, and cut off everybody."""


class Objects(Protocol):
    """The objects that object-add has made."""

    def is_a(self, object_id: str, qom_type: str) -> bool:
        """Whether there is one of this id and type."""


ListenNbd = Callable[[Mapping[str, Any], int, int], NbdServer]
"""Starts an NBD server, given a SocketAddress, the most clients and the seconds that a
handshake may take."""


class ExportHost(Protocol):
    """A machine, as far as exports go."""

    nbd_server: NbdServer | None
    listen_nbd: ListenNbd | None

    @property
    def graph(self) -> Graph:
        """The block graph."""

    @property
    def exports(self) -> BlockExports:
        """The exports there are."""

    @property
    def objects(self) -> Objects:
        """Objects, iothreads among them."""

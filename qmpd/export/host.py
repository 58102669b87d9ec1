"""What exports need of the machine they belong to, and of the sockets they are behind."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.export.exports import BlockExports
    from qmpd.export.vhost_user.device import VhostUserDevice


class NbdServer(Protocol):
    """A running NBD server, as commands see it."""

    max_connections: int
    """Clients at a time, 0 for any number."""

    async def close(self) -> None:
        """Stop, and cut off everybody."""


class VhostUserServer(Protocol):
    """A listening socket of a vhost-user export."""

    def config_changed(self) -> None:
        """Tell the client that the device's configuration is another one."""

    async def close(self) -> None:
        """Stop listening, and cut off the client."""


class Objects(Protocol):
    """The objects that object-add has made."""

    def is_a(self, object_id: str, qom_type: str) -> bool:
        """Whether there is one of this id and type."""


ListenNbd = Callable[[Mapping[str, Any], int, int], NbdServer]
"""Starts an NBD server, given a SocketAddress, the most clients and the seconds that a
handshake may take."""


class Link(Protocol):
    """The connection that a device belongs to."""

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `fd` can be read.

        :raises OSError: it cannot be waited for
        """

    def unwatch(self, fd: int) -> None:
        """Do not any more."""

    def later(self, callback: Callable[[], None]) -> None:
        """Call `callback` when others have had their turn."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request; the connection outlives it."""

    def cut(self) -> None:
        """End the connection."""


MakeDevice = Callable[[Link], "VhostUserDevice"]
"""Makes the device that serves a client."""

ListenVhostUser = Callable[[Mapping[str, Any], MakeDevice], VhostUserServer]
"""Starts a vhost-user server, given a SocketAddress and what makes a client's device."""


class ExportHost(Protocol):
    """A machine, as far as exports go."""

    nbd_server: NbdServer | None
    listen_nbd: ListenNbd | None
    listen_vhost_user: ListenVhostUser | None

    @property
    def graph(self) -> Graph:
        """The block graph."""

    @property
    def exports(self) -> BlockExports:
        """The exports there are."""

    @property
    def objects(self) -> Objects:
        """Objects, iothreads among them."""

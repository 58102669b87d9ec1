"""What exports need of the process that their machine lives in: places where peers arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from qmpd.export.vhost_user.device import MakeDevice
    from qmpd.loop.stream import Connect


class Listener(Protocol):
    """A place where peers arrive."""

    def pause(self) -> None:
        """Keep new peers waiting."""

    def resume(self) -> None:
        """Accept peers again."""

    def close(self) -> None:
        """Stop listening; a unix socket's file goes."""

    def end(self) -> None:
        """Stop listening because the machine ends; the host decides what becomes of the file."""


class VhostUserListener(Protocol):
    """A place where the clients of a vhost-user export arrive, one at a time."""

    def config_changed(self) -> None:
        """Tell the client that the device's configuration has changed."""

    async def close(self) -> None:
        """Stop listening, and disconnect the client once its requests have ended."""


class ExportHost(Protocol):
    """A process, as far as exports need one: it listens for them."""

    def listen(self, address: Mapping[str, Any], connect: Connect) -> Listener:
        """Listen for peers at `address`.

        :param address: SocketAddress, plain JSON values
        :raises GenericError: it cannot listen there
        :raises NotServed: this host does not listen
        """

    def listen_vhost_user(
        self, address: Mapping[str, Any], make_device: MakeDevice, report: Callable[[str], None]
    ) -> VhostUserListener:
        """Listen for clients of a vhost-user device.

        :param address: SocketAddress, plain JSON values
        :param make_device: makes the device that serves a client
        :param report: takes complaints about clients
        :raises GenericError: it cannot listen there
        :raises NotServed: this host does not listen
        """

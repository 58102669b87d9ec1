"""What exports need of the process that their machine lives in: peers, and places to meet them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from qmpd.export.vhost_user.device import MakeDevice


class Peer(Protocol):
    """The far end of a stream of bytes: a connected socket, or a program in this process."""

    @property
    def congested(self) -> bool:
        """Whether output of the last `write` is still buffered; `Connection.drained` follows."""

    def write(self, data: bytes) -> None:
        """Send `data`; what cannot be sent at once is buffered."""

    def pause_input(self) -> None:
        """Stop feeding the connection until `resume_input`; a little more may still come."""

    def resume_input(self) -> None:
        """Feed the connection again."""

    def close(self) -> None:
        """Disconnect the peer; buffered output is lost."""


class Connection(Protocol):
    """The near end of a stream, which speaks some protocol with a `Peer`."""

    @property
    def wanted(self) -> int:
        """Bytes that the connection waits for now: a good size for the next read."""

    def feed(self, data: bytes) -> None:
        """Take bytes that the peer has sent."""

    def drained(self) -> None:
        """All output has been sent."""

    def closed(self) -> None:
        """The peer has gone."""


Connect = Callable[[Peer], Connection]
"""Takes a new peer; returns the near end of the connection."""


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

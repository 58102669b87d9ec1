"""A machine on a socket, as long as an event loop runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from qmpd.server.chardev.socket import SocketChardev

if TYPE_CHECKING:
    from qmpd.api.core import Core
    from qmpd.server.address import SocketAddress

SOCKET_MODE: Final = 0o600
"""Permission bits of the unix socket: whoever may speak QMP may read and write every image."""


class SocketMonitor:
    """A QMP monitor of a machine on a listening socket, one client at a time.

    :param loop: what the machine runs on
    :param label: its name in the journal
    :raises GenericError: nothing can listen there
    """

    def __init__(
        self,
        core: Core,
        loop: asyncio.AbstractEventLoop,
        address: SocketAddress,
        label: str = "served",
    ) -> None:
        self._core = core
        self.chardev = SocketChardev(label, loop, address, server=True)
        self.join()
        self.chardev.start()
        core.sockets.append(self)

    @property
    def port(self) -> tuple[str, int]:
        """Host and port that a TCP socket listens at."""
        return self.chardev.ports[0]

    def disconnect(self) -> None:
        """Drop the client; it may connect again, and is heard once there is a machine."""
        self.chardev.hold()
        self.chardev.disconnect()
        self.chardev.frontend = None

    def join(self) -> None:
        """Let clients come to the machine that the core holds now."""
        self._monitor = self._core.monitors.add_qmp(self.chardev.label, self.chardev)
        self.chardev.attach(self._monitor)
        self.chardev.start()

    def close(self) -> None:
        """Disconnect the client and listen no longer."""
        self._core.sockets.remove(self)
        self.chardev.close()
        if self.chardev.frontend is not None:
            self._core.monitors.remove(self._monitor)

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
    :raises GenericError: nothing can listen there
    """

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop, address: SocketAddress) -> None:
        self._core = core
        self._chardev = SocketChardev("served", loop, address, server=True)
        self.join()
        self._chardev.start()
        core.sockets.append(self)

    @property
    def port(self) -> tuple[str, int]:
        """Host and port that a TCP socket listens at."""
        return self._chardev.ports[0]

    def disconnect(self) -> None:
        """Drop the client; it may connect again, and is heard once there is a machine."""
        self._chardev.disconnect()
        self._chardev.frontend = None

    def join(self) -> None:
        """Let clients come to the machine that the core holds now."""
        self._monitor = self._core.monitors.add_qmp("served", self._chardev)
        self._chardev.attach(self._monitor)

    def close(self) -> None:
        """Disconnect the client and listen no longer."""
        self._core.sockets.remove(self)
        self._chardev.close()
        if self._chardev.frontend is not None:
            self._core.monitors.remove(self._monitor)

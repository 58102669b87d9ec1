"""Forks that are served: other machines on the same event loop, each behind sockets of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.api.core import Core, MakeHost
from qmpd.api.drivers import OnLoop
from qmpd.api.host import ProgramHost
from qmpd.api.sockets import SOCKET_MODE, SocketMonitor
from qmpd.server.address import UnixAddress
from qmpd.sim.keeper import Fork

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.server.chardev.chardev import Chardev
    from qmpd.server.control_socket import ControlSocket
    from qmpd.sim.state.checkpoint import Checkpoint


class Forks:
    """All forks of a process that have not ended (`qmpd.sim.keeper.ForkMaker`).

    :param loop: what they run on
    :param make_host: makes the process, as each of them sees it
    :param made: called with each that is made, and the device that its clients come to
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        make_host: MakeHost = ProgramHost,
        made: Callable[[Core, Chardev], None] | None = None,
    ) -> None:
        self._loop = loop
        self._make_host = make_host
        self._tell = made
        self._made = 0
        self._served: dict[str, _Served] = {}

    def make(self, checkpoint: Checkpoint, qmp: str, control: str | None) -> Fork:
        """Make a machine that goes on from a checkpoint: see `ForkMaker.make`.

        :raises ValueError: `qmp` or `control` is no address, or there is a file already
        :raises GenericError: nothing can listen there
        """
        address = _address(qmp)
        control_address = None if control is None else _address(control)
        if address == control_address:
            raise ValueError(f"'{qmp}' cannot be both monitors")
        core = Core(checkpoint.setup, checkpoint, make_host=self._make_host)
        core.forks = self
        fork = Fork(f"fork{self._made}", qmp, control)
        served = _Served(self._loop, core, fork, address, control_address)
        self._served[fork.id] = served
        self._made += 1
        if self._tell is not None:
            self._tell(core, served.monitor.chardev)

        def closed() -> None:
            # what it has answered is sent first
            self._loop.call_soon(self._ended, fork.id)

        core.on_closed = closed
        return fork

    def there_are(self) -> list[Fork]:
        """The forks, the oldest first."""
        return [served.fork for served in self._served.values()]

    def _ended(self, name: str) -> None:
        served = self._served.pop(name, None)
        if served is not None:
            served.close()

    def close(self) -> None:
        """End all forks where they stand."""
        for name in tuple(self._served):
            self._ended(name)


class _Served:
    """A fork with its sockets.

    :raises GenericError: nothing can listen at an address
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        core: Core,
        fork: Fork,
        address: UnixAddress,
        control_address: UnixAddress | None,
    ) -> None:
        self.fork = fork
        self._core = core
        core.events.keeps = False
        self.monitor = SocketMonitor(core, loop, address, fork.id)
        self._control: ControlSocket | None = None
        if control_address is not None:
            from qmpd.server.control_socket import ControlSocket

            try:
                self._control = ControlSocket(loop, core.bench, control_address)
            except BaseException:
                self.monitor.close()
                raise
        self._driver = OnLoop(core, loop, served=True)

    def close(self) -> None:
        """Drop the machine, if it is there, with its clients; remove the sockets' files."""
        if not self._core.closed:
            self._core.bench.kill()
        self.monitor.close()
        if self._control is not None:
            self._control.close()
        self._driver.detach()


def _address(where: str) -> UnixAddress:
    """The unix socket at ``unix:PATH``, which nobody has made yet.

    :raises ValueError: it is something else, or there is a file
    """
    path = where.removeprefix("unix:")
    if path == where or not path:
        raise ValueError(f"'{where}' is not unix:PATH")
    if os.path.lexists(path):
        raise ValueError(f"there is a file '{path}' already")
    return UnixAddress(path, mode=SOCKET_MODE)

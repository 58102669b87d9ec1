"""A machine behind a socket while its program goes on: an event loop in a thread of its own.

The thread runs the machine until the block ends; calls of the program are handed to it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qmpd.api.drivers import Driven, InThread, OnLoop
from qmpd.api.sockets import SOCKET_MODE, SocketMonitor
from qmpd.server.address import InetAddress, UnixAddress

if TYPE_CHECKING:
    from qmpd.api.core import Core
    from qmpd.server.address import SocketAddress


class ServedControl:
    """The control monitor of a machine on a unix socket, and the forks that it makes.

    :raises GenericError: nothing can listen there
    """

    def __init__(
        self, core: Core, loop: asyncio.AbstractEventLoop, control: str | os.PathLike[str]
    ) -> None:
        from qmpd.api.forks import Forks
        from qmpd.server.control_socket import ControlSocket

        address = UnixAddress(os.fspath(control), mode=SOCKET_MODE)
        self._core = core
        self._socket = ControlSocket(loop, core.bench, address)
        self._forks = Forks(loop)
        core.forks = self._forks

    def close(self) -> None:
        """Disconnect all clients, and end the forks."""
        self._socket.close()
        self._core.forks = None
        self._forks.close()


@contextmanager
def socket_address(
    unix: str | os.PathLike[str] | None, tcp: tuple[str, int] | None
) -> Iterator[SocketAddress]:
    """The address to listen at; a unix socket without a path gets a directory of its own.

    :raises TypeError: both are given
    """
    if tcp is not None:
        if unix is not None:
            raise TypeError("give a path for a unix socket or an address for TCP, not both")
        host, port = tcp
        yield InetAddress(host, str(port), nodelay=True)
        return
    folder = tempfile.mkdtemp(prefix="qmpd-") if unix is None else None
    path = os.fspath(unix) if unix is not None else f"{folder}/qmp.sock"
    try:
        yield UnixAddress(path, mode=SOCKET_MODE)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serve(
    machine: Driven,
    unix: str | os.PathLike[str] | None,
    tcp: tuple[str, int] | None,
    control: str | os.PathLike[str] | None,
) -> Iterator[Any]:
    """Serve `machine` on a socket, in a thread of its own: `qmpd.Machine.serve`."""
    machine._core.require_open()
    with socket_address(unix, tcp) as address:
        thread = _Thread(machine._core, address, control)
        before = machine._driver
        machine._driver = thread.driver
        try:
            yield address.path if isinstance(address, UnixAddress) else thread.monitor.port
        finally:
            machine._driver = before
            thread.end()


class _Thread:
    """A thread with the event loop that runs the machine.

    :param control: path of the control monitor's socket; None: no control monitor
    :raises GenericError: nothing can listen at `address`, or at `control`
    """

    def __init__(
        self, core: Core, address: SocketAddress, control: str | os.PathLike[str] | None
    ) -> None:
        self._core = core
        self._control_path = control
        self._control: ServedControl | None = None
        self._loop = asyncio.new_event_loop()
        self._on_loop: OnLoop
        self.monitor: SocketMonitor
        self._thread = threading.Thread(target=self._run, name="qmpd", daemon=True)
        self._thread.start()
        try:
            self._in_loop(lambda: self._begin(address))
        except BaseException:
            self._stop()
            raise
        self.driver = InThread(self._on_loop, self._loop)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _in_loop(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _begin(self, address: SocketAddress) -> None:
        self.monitor = SocketMonitor(self._core, self._loop, address)
        if self._control_path is not None:
            try:
                self._control = ServedControl(self._core, self._loop, self._control_path)
            except BaseException:
                self.monitor.close()
                raise
        self._on_loop = OnLoop(self._core, self._loop, served=True)

    def end(self) -> None:
        """Close the socket and give the machine back to the program."""
        self._in_loop(self._finish)
        self._stop()

    def _finish(self) -> None:
        self.monitor.close()
        if self._control is not None:
            self._control.close()
        self._on_loop.detach()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

"""A machine on the test bench, in a process of its own: `qmpd serve` with a control monitor.

It is the machine that `qmpd.Machine` has, so that everything a program may do to that can be done
at the control monitor: end it and start it again, reset it, let its time stand still.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from qmpd.api.core import Core
from qmpd.api.forks import Forks
from qmpd.api.host import ProgramHost
from qmpd.base.console import flush_or_drop, write
from qmpd.loop.on_loop import OnLoop
from qmpd.server.ahead import LoadingAhead
from qmpd.server.chardev.chardev import Chardev, ChardevTable
from qmpd.server.short_memory import ProcessMemory

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.api.belongings import Saved
    from qmpd.api.setup import Setup
    from qmpd.loop.task import Task
    from qmpd.monitor.journal import JournalFile
    from qmpd.server.address import SocketAddress
    from qmpd.server.control_socket import ControlSocket


class _Host(ProgramHost):
    """The process: it prints where others see it, and it can be ended.

    :param loop: the event loop that runs the machine
    """

    def __init__(self, loop: AbstractEventLoop, shut_down: Callable[[], None]) -> None:
        super().__init__(shut_down)
        self.loop = loop

    def print(self, text: str) -> None:
        """Write to standard output."""
        write(sys.stdout, text)

    def report(self, text: str) -> None:
        """Write to standard error."""
        write(sys.stderr, text)

    def abort(self) -> NoReturn:
        """End the process as a crash would."""
        os.abort()

    def exit(self, status: int) -> NoReturn:
        """End the process; what has been printed is not lost."""
        for stream in (sys.stdout, sys.stderr):
            flush_or_drop(stream)
        os._exit(status)

    def raise_signal(self, number: int) -> None:
        """Send this process a signal."""
        os.kill(os.getpid(), number)


class BenchServer:
    """Serves one machine on character devices; another machine may take its place.

    :param loop: what everything runs on
    :param setup: what the machine is made of
    :param journal: takes what passes the monitors; closed with the server
    :param saved: of a machine that was saved: what there was in it
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        setup: Setup,
        journal: JournalFile | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.loop = loop
        self._host: _Host
        self._core = Core(setup, saved=saved, make_host=self._make_host)
        self._core.on_closed = loop.stop
        self._core.events.keeps = False
        self._forks = Forks(loop, partial(_Host, loop), self._forked)
        self._core.forks = self._forks
        self._driver = OnLoop(self._core, loop, served=True, apart=self._host.apart)
        self._host.loop = loop
        self._memory = ProcessMemory(loop, lambda: self._core.monitors.dispatcher)
        self._control: ControlSocket | None = None
        self._journal = journal
        self._record(self._core)

    def _forked(self, core: Core, chardev: Chardev) -> None:
        assert isinstance(core.host, _Host)
        core.host.chardevs.add(chardev)
        self._record(core)
        self._keep_reserve(core)

    def _keep_reserve(self, core: Core) -> None:
        """Keep some memory by for `core`, whichever machine it holds."""

        def keep() -> None:
            self._memory.keep_reserve(core.monitors.dispatcher, core.clock, core.bench.log)

        keep()
        core.bench.followers.append(keep)

    def _record(self, core: Core) -> None:
        """Write down what passes the monitors of `core`, whichever machine it holds."""
        if self._journal is None:
            return
        from qmpd.monitor.journal import Journal

        record = Journal(self._journal, lambda: core.clock.date())
        core.monitors.add_tap(record)
        core.bench.followers.append(lambda: core.monitors.add_tap(record))

    def _make_host(self, shut_down: Callable[[], None]) -> ProgramHost:
        self._host = _Host(self.loop, shut_down)
        return self._host

    def set_up(self) -> None:
        """Add the machine's disks, or make what was saved.

        :raises QmpError: one cannot be made
        """
        self._run_now(self._core.set_up())

    def _run_now(self, work: Coroutine[Any, Any, None]) -> None:
        ended: list[Task] = []

        def done(task: Task) -> None:
            ended.append(task)
            self.loop.stop()

        self.loop.call_soon(lambda: self._driver.enter(work, "start", done))
        while not ended:
            self.loop.run_forever()
        if ended[0].error is not None:
            raise ended[0].error

    @property
    def chardevs(self) -> ChardevTable:
        """The character devices of the process."""
        return self._host.chardevs

    @property
    def arrivals(self) -> int:
        """Changes whenever NBD clients have asked for something: see `Stream`."""
        return self._host.arrivals

    def may_linger(self) -> bool:
        """Whether the loop may stand still for a client: never, others have to be heard too."""
        return False

    def add_qmp(self, chardev: Chardev, *, pretty: bool = False) -> None:
        """Serve QMP on `chardev`, also when another machine has taken the place of this one."""
        place = _Place(self._core, chardev, pretty=pretty)
        place.join()
        self._core.sockets.append(place)

    def add_control(self, address: SocketAddress) -> None:
        """Serve the control monitor at `address`.

        :raises GenericError: nothing can listen there
        """
        from qmpd.server.control_socket import ControlSocket

        self._control = ControlSocket(self.loop, self._core.bench, address)

    def start(self) -> None:
        """Begin to serve; the loop does the rest."""
        for chardev in self.chardevs.oldest_first():
            chardev.start()

    def run(self) -> None:
        """Serve (after `start`) until the machine ends, then give everything back."""
        core = self._core
        ahead = LoadingAhead(self.loop, core.machine, core.monitors.dispatcher)
        ahead.start()
        self._memory.start()
        self._keep_reserve(core)
        try:
            self.loop.run_forever()
        finally:
            ahead.end()
            self._memory.end()
            self.close()

    def terminate(self, number: int, sender: int) -> None:
        """End because signal `number` came from process `sender`; nothing keeps it waiting."""
        core = self._core
        if core.closed:
            self.loop.stop()
            return
        core.let_time_pass()
        core.monitors.dispatcher.close()
        core.machine.request_shutdown("host-signal")

    def close(self) -> None:
        """Stop serving: clients are disconnected, socket files removed."""
        self._core.monitors.close()
        self.chardevs.close()
        self._forks.close()
        if self._control is not None:
            self._control.close()
        if self._journal is not None:
            self._journal.close()


class _Place:
    """A character device with QMP on it (`qmpd.api.core.Socket`)."""

    def __init__(self, core: Core, chardev: Chardev, *, pretty: bool) -> None:
        self._core = core
        self._chardev = chardev
        self._pretty = pretty

    def disconnect(self) -> None:
        """Drop the client; it may come again, and is heard once there is a machine."""
        self._chardev.disconnect()
        self._chardev.frontend = None

    def join(self) -> None:
        """Let clients come to the machine that there is now."""
        monitor = self._core.monitors.add_qmp(
            self._chardev.label, self._chardev, pretty=self._pretty
        )
        self._chardev.attach(monitor)

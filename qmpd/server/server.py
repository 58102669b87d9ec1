"""A machine and its monitors, from the first client to the end of the process."""

from __future__ import annotations

import logging
import os
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qmpd.base.console import flush_or_drop, write
from qmpd.errors import GenericError, QmpError
from qmpd.loop.apart import ApartInThread
from qmpd.monitor.monitors import Monitors
from qmpd.server.ahead import LoadingAhead
from qmpd.server.chardev.chardev import Chardev
from qmpd.server.chardev.hot import CharDevices
from qmpd.server.chardev.maker import Surroundings
from qmpd.server.chardev.stdio import StdioChardev
from qmpd.server.listening import CAREFUL, Manners
from qmpd.server.short_memory import ProcessMemory
from qmpd.server.sockets import ClientSockets

if TYPE_CHECKING:
    from qmpd.export.vhost_user.device import MakeDevice
    from qmpd.loop.apart import Apart
    from qmpd.loop.stream import Connect
    from qmpd.loop.task import Handle, Task
    from qmpd.machine.host import Host, OpenStream, StreamListener
    from qmpd.machine.machine import Machine
    from qmpd.monitor.hmp_monitor import HmpMonitor
    from qmpd.monitor.journal import JournalFile
    from qmpd.monitor.monitor import Monitor
    from qmpd.monitor.qmp_monitor import QmpMonitor
    from qmpd.server.address import SocketAddress
    from qmpd.server.control_socket import ControlSocket
    from qmpd.server.dial import Dialer
    from qmpd.server.idle_threads import IdleThreads
    from qmpd.server.listener import SocketListener
    from qmpd.server.streams import Streams
    from qmpd.server.vhost_user_socket import VhostUserSocket
    from qmpd.sim.bench import Bench
    from qmpd.sim.holder import Program

LOG = logging.getLogger("qmpd.server")


def new_event_loop() -> AbstractEventLoop:
    """An event loop of uvloop where that is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        import asyncio

        return asyncio.new_event_loop()
    loop: AbstractEventLoop = uvloop.new_event_loop()
    return loop


class Server:
    """Serves one machine on any number of character devices; it is the machine's `Host`.

    :param loop: what everything runs on
    :param make_machine: makes the machine, given its host; its clock follows the same loop
    :param journal: takes what passes the monitors; closed with the server
    :param manners: how files of clients' unix sockets come to be
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        make_machine: Callable[[Host], Machine],
        journal: JournalFile | None = None,
        manners: Manners = CAREFUL,
    ) -> None:
        self.loop = loop
        self.sockets = ClientSockets(lambda: self.machine, manners)
        self.apart: Apart = ApartInThread(loop.call_soon_threadsafe)
        self.name = ""
        """The program's, with which messages begin that no command causes."""
        self.at_option = ""
        """What warnings begin with while an option of the command line is worked on."""
        self.chardevs = CharDevices(
            Surroundings(lambda: self.machine, lambda: self.loop, self.sockets)
        )
        self._started = False
        self._ending = False
        # on a single one, to look out for the client would keep it from running
        self._several_cpus = len(os.sched_getaffinity(0)) > 1
        self.on_ended: Callable[[], None] | None = None
        """Called when the machine has been shut down and all replies are written."""
        self._journal = journal
        self.machine = make_machine(self)
        # until the server starts it is the owner who names files
        self.machine.services.storage.host.begin_naming()
        self.monitors = Monitors(self.machine, journal)
        self._ahead = LoadingAhead(loop, self.machine, self.monitors.dispatcher)
        self._memory = ProcessMemory(loop, lambda: self.monitors.dispatcher)
        self._nbd: SocketListener | None = None
        self._control: ControlSocket | None = None
        self.program: Program | None = None
        """The process, as the control monitor has to do with it."""

    @cached_property
    def bench(self) -> Bench:
        """The machine on the test bench."""
        from qmpd.sim.bench import Bench

        return Bench(self.machine, self.monitors, self.machine.clock, program=self.program)

    # What the machine asks of it (`Host`)

    def listen(self, address: Mapping[str, Any], connect: Connect) -> SocketListener:
        """Listen for NBD clients at `address`.

        :raises GenericError: it cannot listen there
        """
        from qmpd.server.listener import SocketListener

        self._nbd = SocketListener(
            self.loop,
            self.sockets.read(address),
            connect,
            sockets=self.sockets,
            stays=True,
            may_linger=self._is_idle,
        )
        return self._nbd

    @cached_property
    def _dialer(self) -> Dialer:
        from qmpd.server.dial import Dialer

        return Dialer(self.loop, self.sockets)

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        """Connect to a server; see `qmpd.loop.stream.Dial`."""
        return self._dialer.connect(address, connect, failed)

    @cached_property
    def _streams(self) -> Streams:
        from qmpd.server.streams import Streams

        return Streams(
            self.loop,
            self.sockets,
            lambda: self.machine.services.storage,
            lambda text: self.report(f"warning: {text}\n"),
        )

    def open_stream(
        self,
        address: Mapping[str, Any],
        connect: OpenStream,
        failed: Callable[[QmpError], None],
    ) -> Handle:
        """Open a migration's stream; see `Host.open_stream`."""
        return self._streams.open(address, connect, failed)

    def await_stream(self, address: Mapping[str, Any], connect: OpenStream) -> StreamListener:
        """Wait for a migration's stream; see `Host.await_stream`."""
        return self._streams.wait(address, connect)

    def listen_vhost_user(
        self, address: Mapping[str, Any], make_device: MakeDevice, report: Callable[[str], None]
    ) -> VhostUserSocket:
        """Listen for vhost-user clients at `address`.

        :raises GenericError: it cannot listen there
        """
        from qmpd.server.vhost_user_socket import VhostUserSocket

        return VhostUserSocket(
            self.loop,
            self.machine.clock,
            self.sockets.read(address),
            make_device,
            report,
            sockets=self.sockets,
        )

    def print(self, text: str) -> None:
        """Write to standard output, after whatever a monitor there has said before."""
        for chardev in self.chardevs:
            if isinstance(chardev, StdioChardev):
                self.monitors.flush()
                chardev.write(text.encode())
                return
        write(sys.stdout, text)

    def report(self, text: str) -> None:
        """Write to standard error, after what a monitor has said before.

        A warning about an option begins with it (`at_option`).
        """
        if self.at_option and text.startswith("warning: "):
            text = f"{self.at_option}{text}"
        self.monitors.flush()
        write(sys.stderr, text)

    def report_alone(self, text: str) -> None:
        """Write to standard error what begins with the program's name."""
        self.report(f"{self.name}: {text}")

    def shut_down(self, reason: str) -> None:
        """End the machine, once the present command has been answered."""
        LOG.info("shutdown: %s", reason)
        if reason == "host-signal":
            # a command that waits for ever must not keep the process alive
            self.monitors.dispatcher.close()
            self.loop.call_soon(self._end)
        else:
            self.monitors.stop(self._end)

    def abort(self) -> None:
        """End the process as a crash would."""
        os.abort()

    def exit(self, status: int) -> None:
        """End the process; what has been printed is not lost."""
        self.monitors.flush()
        for stream in (sys.stdout, sys.stderr):
            flush_or_drop(stream)
        os._exit(status)

    def raise_signal(self, number: int) -> None:
        """Send this process a signal."""
        os.kill(os.getpid(), number)

    def thread_of(self, name: str) -> int:
        """The id of an idle thread."""
        return self._idle_threads.id_of(name)

    @cached_property
    def _idle_threads(self) -> IdleThreads:
        from qmpd.server.idle_threads import IdleThreads

        return IdleThreads()

    # What the program does with it

    @property
    def arrivals(self) -> int:
        """Changes whenever NBD clients have asked for something: see `Stream`."""
        return 0 if self._nbd is None else self._nbd.arrivals

    def may_linger(self) -> bool:
        """Whether nothing but the next request is to be expected: see `Stream`.

        The loop stands still meanwhile, so nobody may use an export of this process, nor may it
        wait for a server.
        """
        if not self._several_cpus or self.machine.parts.has_exports:
            return False
        if "_dialer" in self.__dict__ and self._dialer.connected:
            return False
        return self._is_idle()

    def _is_idle(self) -> bool:
        """Whether the machine has nothing to do, and the client does not need this CPU to go on."""
        idle = self.monitors.dispatcher.idle and self.machine.clock.idle
        return self._several_cpus and idle

    def add_qmp(self, chardev: Chardev, *, pretty: bool = False, oob: bool = True) -> QmpMonitor:
        """Serve QMP on `chardev`; see `Monitors.add_qmp`.

        :raises GenericError: when something else uses the chardev
        """
        monitor = self.monitors.add_qmp(chardev.label, chardev, pretty=pretty, oob=oob)
        self._attach(chardev, monitor)
        return monitor

    def add_hmp(self, chardev: Chardev) -> HmpMonitor:
        """Serve the human monitor on `chardev`.

        :raises GenericError: when something else uses the chardev
        """
        monitor = self.monitors.add_hmp(chardev.label, chardev)
        self._attach(chardev, monitor)
        return monitor

    def add_control(self, address: SocketAddress) -> None:
        """Serve the control monitor at `address`.

        :raises GenericError: nothing can listen there
        """
        from qmpd.server.control_socket import ControlSocket

        self._control = ControlSocket(self.loop, self.bench, address)

    def _attach(self, chardev: Chardev, monitor: Monitor) -> None:
        try:
            chardev.attach(monitor)
        except GenericError:
            self.monitors.remove(monitor)
            raise

    def run_now(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the machine to its end, before the server runs.

        :raises Exception: whatever it raises
        """
        ended: list[Task] = []

        def done(task: Task) -> None:
            ended.append(task)
            if self.loop.is_running():
                self.loop.stop()

        task = self.machine.clock.enter(work, "start", done)
        while not ended:
            self.loop.run_forever()
        if task.error is not None:
            raise task.error
        return task.result

    def start(self) -> None:
        """Begin to serve; the loop does the rest."""
        self._started = self.chardevs.serving = True
        self.machine.services.storage.host.end_naming()
        for chardev in self.chardevs.oldest_first():
            chardev.start()

    def run(self) -> None:
        """Serve (after `start`) until the machine ends, then give everything back."""
        self.on_ended = self.loop.stop
        self._ahead.start()
        self._memory.start()
        log = self.bench.log if "bench" in self.__dict__ else None
        self._memory.keep_reserve(self.monitors.dispatcher, self.machine.clock, log)
        try:
            self.loop.run_forever()
        finally:
            self.close()

    def terminate(self, number: int, sender: int) -> None:
        """End because signal `number` came from process `sender`."""
        LOG.info("signal %d from pid %d", number, sender)
        self.machine.request_shutdown("host-signal")

    def _end(self) -> None:
        """Let jobs and nodes go (their events are still sent), then say so."""
        if not self._ending:
            self._ending = True
            self._ahead.end()
            self._memory.end()
            self.machine.clock.enter(self.machine.close(), "end", self._machine_closed)

    def _machine_closed(self, task: Task) -> None:
        if task.error is not None:
            LOG.error("the machine did not close cleanly", exc_info=task.error)
        if self.on_ended is not None:
            self.on_ended()

    def close(self) -> None:
        """Stop serving: clients are disconnected, socket files removed."""
        self.monitors.close()
        self.chardevs.close()
        if self._control is not None:
            self._control.close()
        if self._journal is not None:
            self._journal.close()

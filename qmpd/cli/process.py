"""The part that all programs share: a machine, its server, and the life of the process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from qmpd.base.console import write
from qmpd.block.images import STORAGES, access_of, new_storage
from qmpd.cli.report import CommandLineError, Probe, Program, located, serving
from qmpd.errors import GenericError, QmpError
from qmpd.profile.personality import Personality
from qmpd.server import lifecycle

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.api.belongings import Saved
    from qmpd.api.setup import Setup
    from qmpd.block.images import Access
    from qmpd.block.images.access import Paths
    from qmpd.cli.bench_server import BenchServer
    from qmpd.cli.own_process import OwnProcess
    from qmpd.loop.clock import VirtualClock
    from qmpd.machine.config import MachineConfig
    from qmpd.machine.host import Host
    from qmpd.machine.machine import Machine
    from qmpd.monitor.journal import JournalFile
    from qmpd.server.address import SocketAddress
    from qmpd.server.lifecycle import Daemon, PidFile
    from qmpd.server.server import Server

STORAGE_VARIABLE: Final = "QMPD_STORAGE"
"""Environment variable: storage of the programs that have only QEMU's own options."""

ALLOW_VARIABLES: Final = ("QMPD_ALLOW", "QMPD_ALLOW_READ", "QMPD_ALLOW_SOCKETS")
"""Environment variables: what ``--allow``, ``--allow-read`` and ``--allow-sockets`` of ``qmpd
serve`` are, for these programs, with colons between the paths."""

JOURNAL_VARIABLE: Final = "QMPD_LOG_QMP"
"""Environment variable: file for the record of QMP traffic of these programs."""

CONTROL_VARIABLE: Final = "QMPD_CONTROL"
"""Environment variable: where these programs serve the control monitor, ``unix:PATH``."""

SOCKET_MODE: Final = 0o600
"""Permission bits of unix sockets: whoever may speak QMP may read and write every image."""


def make_access(
    mode: str, allow_write: Paths | None, allow_read: Paths | None, allow_sockets: Paths | None
) -> Access:
    """What options allow; see `access_of`.

    :raises CommandLineError: there is no storage of this mode, or it has no use for one of them
    """
    if mode not in STORAGES:
        raise CommandLineError(f"storage '{mode}' is none of {', '.join(STORAGES)}")
    try:
        return access_of(mode, allow_write, allow_read, allow_sockets)
    except ValueError as error:
        raise CommandLineError(str(error)) from None


def access_of_environment() -> Access:
    """What the environment allows the programs that have only QEMU's own options.

    :raises CommandLineError: it makes no sense
    """
    allowed = (_paths_of(variable) for variable in ALLOW_VARIABLES)
    return make_access(os.environ.get(STORAGE_VARIABLE, "host"), *allowed)


def _paths_of(variable: str) -> list[str] | None:
    value = os.environ.get(variable)
    return None if value is None else [path for path in value.split(os.pathsep) if path]


def add_node(server: Server, options: Mapping[str, Any]) -> None:
    """Open a node as command blockdev-add does, before the server runs.

    :raises GenericError: with QEMU's text
    """
    if "node-name" not in options:
        raise GenericError("'node-name' must be specified for the root node")
    from qmpd.block.change.blockdev import blockdev_add

    server.run_now(blockdev_add(server.machine.graph, options))


class _Served(Protocol):
    """A server, as the life of the process sees it."""

    def add_control(self, address: SocketAddress) -> None: ...

    def start(self) -> None: ...

    def run(self) -> None: ...

    def terminate(self, number: int, sender: int) -> None: ...

    def close(self) -> None: ...


@dataclass
class ProcessOptions:
    """How a process is to run.

    :param pid_file: path for the process's id; None: none
    :param pid_file_last: write it when all is set up, as the storage daemon does
    :param daemonize: detach from the terminal
    :param ready_fd: descriptor to write to when clients may come
    :param announce_signals: say on standard error which signal ended the process
    :param is_own: whether the program is qmpd's own, and none of QEMU's
    """

    pid_file: str | None = None
    pid_file_last: bool = False
    daemonize: bool = False
    ready_fd: int | None = None
    announce_signals: bool = False
    is_own: bool = False


class Process:
    """A process that hosts one machine.

    Use: `begin` (forks where asked), `build`, more set-up, `serve`.
    """

    def __init__(self, program: Program, options: ProcessOptions) -> None:
        self.program = program
        self._options = options
        self._daemon: Daemon | None = None
        self._pid_file: PidFile | None = None
        self._loop: AbstractEventLoop | None = None
        self._own: OwnProcess | None = None
        self.server: Server
        self._served: _Served

    def begin(self) -> None:
        """Become a daemon, write the pid file.

        :raises CommandLineError: the pid file cannot be written
        """
        if self._options.daemonize:
            from qmpd.server.lifecycle import Daemon

            self._daemon = Daemon()
            self._daemon.fork()
        if not self._options.pid_file_last:
            self._write_pid_file()

    def _write_pid_file(self) -> None:
        if self._options.pid_file is not None:
            from qmpd.server.lifecycle import PidFile

            try:
                self._pid_file = PidFile(self._options.pid_file)
            except GenericError as error:
                raise located(error, None) from None

    def build(
        self,
        access: Access,
        config: MachineConfig,
        journal: str | None = None,
        *,
        harness: VirtualClock | None = None,
        memory_limit: int | None = None,
    ) -> Machine:
        """Make the machine and its server.

        :param access: where images live, and what of the host clients may reach
        :param config: what the machine is
        :param journal: file for the record of QMP traffic
        :param harness: the stepped clock of ``-accel qtest``
        :param memory_limit: bytes that images in memory may take in all
        :raises CommandLineError: a file that cannot be opened
        """
        from random import Random

        from qmpd.loop.asyncio_clock import LoopClock
        from qmpd.loop.clocks import Clocks
        from qmpd.machine.machine import Machine
        from qmpd.server.listening import CAREFUL, Manners
        from qmpd.server.server import Server, new_event_loop

        self._loop = loop = new_event_loop()
        where = new_storage(access, memory_limit)

        def make_machine(host: Host) -> Machine:
            has_guest = config.personality is Personality.SYSTEM
            clocks = Clocks.of(LoopClock(loop), harness=harness, has_guest=has_guest)
            thread_id = threading.get_native_id()
            return Machine(clocks, where, config, host=host, random=Random(), thread_id=thread_id)

        own = self._options.is_own
        manners = CAREFUL if own else Manners(access.writes.everywhere, mode=None)
        self.server = Server(loop, make_machine, _open_journal(journal), manners)
        self._served = self.server
        self.server.name = self.program.name
        return self.server.machine

    def build_bench(
        self, setup: Setup, journal: str | None, saved: Saved | None = None
    ) -> BenchServer:
        """Make a machine on the test bench, and its server.

        :param setup: what the machine is made of
        :param journal: file for the record of QMP traffic
        :param saved: of a machine that was saved: what there was in it
        :raises CommandLineError: a file that cannot be opened
        """
        from qmpd.cli.bench_server import BenchServer
        from qmpd.server.server import new_event_loop

        self._loop = new_event_loop()
        self._served = server = BenchServer(self._loop, setup, _open_journal(journal), saved)
        return server

    def add_control(self, where: str, location: str) -> None:
        """Serve the control monitor.

        :param where: ``unix:PATH``
        :param location: what has said so, for messages
        :raises CommandLineError: it is something else, or nothing can listen there
        """
        from qmpd.server.address import UnixAddress

        path = where.removeprefix("unix:")
        if path == where or not path:
            raise CommandLineError(f"'{where}' is not unix:PATH", location=location)
        try:
            self._served.add_control(UnixAddress(path, mode=SOCKET_MODE))
        except GenericError as error:
            raise located(error, location) from None

    def add_control_of_environment(self) -> None:
        """Serve the control monitor where `CONTROL_VARIABLE` says so.

        :raises CommandLineError: that cannot be done
        """
        where = os.environ.get(CONTROL_VARIABLE)
        if where:
            from qmpd.cli.own_process import OwnProcess

            assert self._loop is not None
            self._own = self.server.program = OwnProcess(self._loop, self.server)
            self.add_control(where, CONTROL_VARIABLE)

    def serve(self) -> int:
        """Run until the machine ends; returns the process's status.

        :raises CommandLineError: the pid file cannot be written
        """
        assert self._loop is not None
        loop = self._loop
        if self._options.pid_file_last:
            self._write_pid_file()

        lifecycle.watch_signals(loop.call_soon_threadsafe, self._signalled)
        self._served.start()
        if self._daemon is not None:
            self._daemon.ready()
        if self._options.ready_fd is not None:
            lifecycle.write_ready(self._options.ready_fd)
        lifecycle.notify("READY=1")
        serving()
        try:
            self._served.run()
        finally:
            lifecycle.notify("STOPPING=1")
            if self._pid_file is not None:
                self._pid_file.remove()
        if self._own is not None:
            self._own.begin_if_wanted()
        return 0

    def _signalled(self, number: int, sender: int) -> None:
        if self._options.announce_signals:
            from qmpd.server.lifecycle import process_name

            text = f"terminating on signal {number}"
            if sender:
                text += f" from pid {sender} ({process_name(sender) or '<unknown process>'})"
            self.program.message(text)
        self._served.terminate(number, sender)

    def abandon(self) -> None:
        """Close the server and its loop, and remove the pid file, after the set-up has failed."""
        if hasattr(self, "_served"):
            self._served.close()
        if self._loop is not None:
            self._loop.close()
        if self._pid_file is not None:
            self._pid_file.remove()


def _open_journal(path: str | None) -> JournalFile | None:
    if path is None:
        return None
    from qmpd.monitor.journal import JournalFile

    try:
        return JournalFile.open(path)
    except OSError as error:
        raise CommandLineError(f"Could not open '{path}': {error.strerror}") from None


def run_program(program: Program, main: Callable[[Program], int]) -> int:
    """Run `main`, print the error that it ends with, and return the status of the process."""
    _fill_standard_descriptors()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    lifecycle.ignore_signals()
    lifecycle.raise_limits()
    logging_handler = _PlainHandler(program)
    logging.getLogger("qmpd").addHandler(logging_handler)
    try:
        return main(program)
    except QmpError as error:
        program.complain(error)
        return 1
    except Probe as probe:
        return program.answer(probe)


def _fill_standard_descriptors() -> None:
    """Put /dev/null where a standard stream is closed: no socket or image may get its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class _PlainHandler(logging.Handler):
    """Prints log records as QEMU's programs print errors."""

    def __init__(self, program: Program) -> None:
        super().__init__(logging.WARNING)
        self._program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._program.message(text)


def finish(status: int) -> None:
    """End the process at once: the interpreter's own clean-up takes longer than ours."""
    write(sys.stdout, "")
    write(sys.stderr, "")
    os._exit(status)

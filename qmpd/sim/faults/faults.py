"""The faults of one machine: installed, counted, listed, removed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.block.permission_bits import WRITE, Perm
from qmpd.errors import BlockIOError
from qmpd.monitor.transport import Output
from qmpd.sim.faults.commands import CommandFault, check_command, faulty
from qmpd.sim.faults.connections import ConnectionFault
from qmpd.sim.faults.fault import Fault
from qmpd.sim.faults.io import IoFault, file_of, is_called
from qmpd.sim.faults.line import MonitorLine, PeerLine
from qmpd.sim.faults.tap import Tap
from qmpd.sim.faults.words import listed
from qmpd.sim.names import backend_called

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.loop.stream import Connect, Peer
    from qmpd.monitor.qmp_monitor import Dispatch, QmpMonitor
    from qmpd.sim.faults.place import Place

FaultT = TypeVar("FaultT", bound=Fault)


class Faults:
    """The faults that are installed now, the oldest first; iterate over it to see them.

    A fault that names a node or a file is about all that have this name as long as it is
    installed: those that are there, and those that come.

    :param bench: the machine and its surroundings
    """

    def __init__(self, bench: Place) -> None:
        self._bench = bench
        self._faults: list[Fault] = []
        self._installed = 0
        self._taps: dict[Node, Tap] = {}
        self._lines: dict[QmpMonitor, MonitorLine] = {}
        self._peers: list[PeerLine] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._faults))

    def __len__(self) -> int:
        return len(self._faults)

    def unused(self) -> list[Fault]:
        """Those that have not acted yet."""
        return [fault for fault in self._faults if not fault.hits]

    def clear(self) -> None:
        """Remove all of them."""
        for fault in self:
            fault.remove()

    def forget(self, fault: Fault) -> None:
        """Take a fault out: `Fault.remove`."""
        if fault not in self._faults:
            return
        self._faults.remove(fault)
        if isinstance(fault, ConnectionFault):
            for line in self._lines.values():
                line.remove(fault)
            for peer in self._peers:
                peer.remove(fault)
        self.note(action="removed", **fault.describe())
        self._arm()

    def note(self, **data: Any) -> None:
        """Write something into the machine's journal."""
        self._bench.note("fault", **data)

    def _install(self, fault: FaultT) -> FaultT:
        fault.id = f"fault{self._installed}"
        self._installed += 1
        self._faults.append(fault)
        self.note(action="installed", **fault.what)
        self._arm()
        return fault

    def follow(self) -> None:
        """Be about another machine, which has taken the place of the one before."""
        self._taps.clear()
        self._lines.clear()
        self._peers.clear()
        self._arm()

    # I/O

    def fail(
        self,
        operation: str,
        *,
        node: str | None = None,
        file: str | None = None,
        later: bool = False,
        **rest: Any,
    ) -> IoFault:
        """Have requests to nodes or files fail, wait or change; see `IoFault`.

        :param node: name of a node, or a pattern (`fnmatch`); the name of a backend or a device
            stands for the node that it is on now
        :param file: name of a file as QMP tells it, or a pattern
        :param later: the node or the file need not be there yet
        :raises LookupError: there is no such node, or no such file is open; the text says which
            there are
        :raises ValueError: see `IoFault`
        """
        fault = IoFault(self, operation, node=self._node_name(node), file=file, **rest)
        if not (later or fault.of_new_files):
            self._find(fault)
        return self._install(fault)

    def _node_name(self, name: str | None) -> str | None:
        graph = self._bench.machine.graph
        if name is None or graph.find_node(name) is not None:
            return name
        backend = backend_called(self._bench.machine, name)
        if backend is None or backend.node is None:
            return name
        return backend.node.node_name

    def _find(self, fault: IoFault) -> None:
        """Check that there is something that a fault is about."""
        nodes = self._nodes()
        names = sorted(node.node_name for node in nodes)
        files = sorted({name for node in nodes if (name := file_of(node)) is not None})
        if any(fault.is_at(node.node_name, file_of(node)) for node in nodes):
            return
        hint = "later=True is for what is still to come"
        if fault.node is not None and not any(is_called(name, fault.node) for name in names):
            raise LookupError(
                f"there is no node {fault.node!r}; there are {listed(names)} ({hint})"
            )
        raise LookupError(f"no file {fault.file!r} is open; there are {listed(files)} ({hint})")

    def _arm(self) -> None:
        """Have the machine ask for the faults that there are, and for nothing else."""
        self._arm_io()
        self._arm_connections()
        self._bench.monitors.intercept(self._faulty if self._of(CommandFault) else None)

    def _of(self, kind: type[FaultT]) -> list[FaultT]:
        return [fault for fault in self._faults if isinstance(fault, kind)]

    # Commands

    def command(self, name: str, **rest: Any) -> CommandFault:
        """Have calls of a command fail, wait or get no answer; see `CommandFault`.

        :raises LookupError: there is no such command; the text says which there are
        :raises ValueError: see `CommandFault`
        """
        machine = self._bench.machine
        check_command(name, machine.profile.program(machine.personality).commands)
        return self._install(CommandFault(self, name, **rest))

    def _faulty(self, dispatch: Dispatch) -> Dispatch:
        return faulty(dispatch, lambda: self._of(CommandFault), self._bench.clock.sleep)

    # Connections

    def connection(self, action: str, **rest: Any) -> ConnectionFault:
        """Have something happen to the connections of clients; see `ConnectionFault`.

        :raises ValueError: see `ConnectionFault`
        """
        before = dict(self._lines)
        fault = self._install(ConnectionFault(self, action, **rest))
        for monitor, line in before.items():
            if fault.concerns(monitor.label):
                line.add(fault)
        return fault

    def _of_clients(self, label: str) -> list[ConnectionFault]:
        return [fault for fault in self._of(ConnectionFault) if fault.concerns(label)]

    def _of_nbd(self) -> list[ConnectionFault]:
        return [fault for fault in self._of(ConnectionFault) if fault.nbd]

    def _arm_connections(self) -> None:
        """Stand between servers and their clients where there are faults for these."""
        faults = self._of(ConnectionFault)
        nbd = self._of_nbd()
        monitors = self._bench.monitors
        monitors.on_added = self._line if len(nbd) < len(faults) else None
        for monitor in {**self._lines, **dict.fromkeys(monitors.qmp)}:
            self._line(monitor)
        if nbd or self._peers:
            self._bench.machine.nbd.through = self._through if nbd else None

    def _line(self, monitor: QmpMonitor) -> None:
        line = self._lines.get(monitor)
        wanted = bool(self._of_clients(monitor.label)) and monitor in self._bench.monitors.qmp
        if line is not None and not wanted:
            del self._lines[monitor]
            line.detach()
        elif line is None and wanted and not isinstance(monitor.transport, Output):
            self._lines[monitor] = MonitorLine(
                monitor, self._bench.clock, lambda: self._of_clients(monitor.label)
            )

    def _through(self, peer: Peer, connect: Connect) -> PeerLine:
        line = PeerLine(peer, connect, self._bench.clock, self._of_nbd())
        self._peers = [other for other in self._peers if not other.is_gone]
        self._peers.append(line)
        return line

    # Nodes and files

    def _arm_io(self) -> None:
        graph, storage = self._bench.machine.graph, self._bench.machine.services.storage
        faults = self._of(IoFault)
        requests = [fault for fault in faults if not fault.of_files]
        graph.on_opened = self._opened if requests else None
        storage.gate = Gate(self) if len(requests) < len(faults) else None
        for node in self._nodes():
            self._tap(node)

    def _nodes(self) -> list[Node]:
        """All nodes but those that are being opened."""
        nodes = self._bench.machine.graph.nodes()
        return [node for node in nodes if node.driver is not None]

    def _opened(self, node: Node) -> None:
        holds = self._bench.machine.graph.holds
        self._taps = {old: tap for old, tap in self._taps.items() if holds(old)}
        self._tap(node)

    def _tap(self, node: Node) -> None:
        faults = [fault for fault in self._of(IoFault) if fault.concerns(node)]
        tap = self._taps.get(node)
        if tap is None:
            if not faults:
                return
            tap = self._taps[node] = Tap(node, self._bench.clock.sleep)
        tap.set_faults(faults)
        if not faults:
            del self._taps[node]

    def of_files(self) -> list[IoFault]:
        """Those about files being opened, made and locked."""
        return [fault for fault in self._of(IoFault) if fault.of_files]

    async def wait(self, delay: int) -> None:
        """Let nanoseconds of the machine's clock pass."""
        await self._bench.clock.sleep(delay)


class Gate:
    """Where faults meet files that are opened, made or locked.

    It is a `qmpd.block.images.storages.Gate`.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def _met(self, operation: str, filename: str, node_name: str | None) -> Iterator[IoFault]:
        for fault in self._faults.of_files():
            if fault.operation == operation and fault.is_at(node_name, filename):
                where = {} if node_name is None else {"on": node_name}
                if fault.meets(request=operation, filename=filename, **where):
                    yield fault

    async def opens(self, filename: str, node_name: str) -> None:
        """A node is about to open a file."""
        for fault in self._met("open", filename, node_name):
            if fault.delay:
                await self._faults.wait(fault.delay)
            fault.raise_error(f"Could not open '{filename}'")

    def opens_now(self, filename: str, node_name: str) -> None:
        """A node is about to open its file once more, and cannot wait."""
        for fault in self._met("open", filename, node_name):
            fault.raise_error(f"Could not open '{filename}'")

    async def creates(self, filename: str) -> None:
        """A file is about to be made."""
        for fault in self._met("create", filename, None):
            if fault.delay:
                await self._faults.wait(fault.delay)
            fault.raise_error(f"Could not create '{filename}'")

    def locks(self, filename: str, node_name: str, perm: Perm) -> None:
        """A node is about to take locks on its file: another program has one that conflicts."""
        for fault in self._met("lock", filename, node_name):
            if fault.errno in (errno.EAGAIN, errno.EACCES):
                shared = "" if perm & WRITE else "shared "
                raise BlockIOError(fault.errno, f'Failed to get {shared}"write" lock')
            reason = os.strerror(fault.errno)
            raise BlockIOError(fault.errno, f"Failed to lock byte 100: {reason}")

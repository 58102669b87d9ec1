"""A machine inside the test, asked as a session would ask it."""

from __future__ import annotations

from random import Random
from typing import Any

from qmpd.block.images import MemoryStorage, Storage
from qmpd.loop.clock import VirtualClock
from qmpd.loop.clocks import Clocks
from qmpd.machine.host import NoHost
from qmpd.machine.machine import Machine, MachineConfig
from qmpd.monitor.qmp.dispatch import dispatch
from qmpd.monitor.qmp.served import SERVED
from qmpd.profile.personality import Personality
from qmpd.wire.session import NO_ID, Request, Session


class Console(NoHost):
    """A host that keeps what is printed."""

    def __init__(self) -> None:
        self.printed: list[str] = []
        self.complaints: list[str] = []

    def print(self, text: str) -> None:
        self.printed.append(text)

    def report(self, text: str) -> None:
        self.complaints.append(text)


class TestMachine:
    """A machine on a virtual clock, with a session past negotiation.

    :param storage: where its images live; memory if absent
    :param options: further arguments of `MachineConfig`
    """

    __test__ = False

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        personality: Personality = Personality.SYSTEM,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock()
        clocks = Clocks.of(self.clock, has_guest=personality is Personality.SYSTEM)
        console = Console()
        self.printed, self.complaints = console.printed, console.complaints
        self.machine = Machine(
            clocks,
            MemoryStorage() if storage is None else storage,
            MachineConfig(personality=personality, **options),
            host=console,
            random=Random(0),
            thread_id=1,
        )
        self.events: list[tuple[str, Any]] = []
        self.machine.events.subscribe(lambda record: self.events.append((record.name, record.data)))
        self.session = Session(qemu_version=(10, 0, 2), package="test")
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command; arguments are given with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        request = Request(command, named, False, NO_ID)
        value = self.clock.run(dispatch(self.machine, SERVED, self.session, request))
        self.clock.settle()
        return value

    def hmp(self, line: str) -> str:
        """Run a line of the human monitor."""
        text: str = self.execute("human-monitor-command", command_line=line)
        return text

"""The machine of a recorded session, in this process, with time that is held.

What comes back depends on nothing but what is sent: a job comes as far in each replay as in the one
before, however busy the computer is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from qmpd.block.images import HostStorage
from qmpd.errors import QmpError
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.clocks import Clocks
from qmpd.loop.paced_clock import Pace, PacedClock
from qmpd.loop.stream import Connect
from qmpd.loop.task import Handle, Timer
from qmpd.machine.chardevs import CharDevices, NoCharDevices
from qmpd.machine.config import MachineConfig
from qmpd.machine.host import NoHost
from qmpd.machine.machine import Machine
from qmpd.monitor.monitors import Monitors
from qmpd.monitor.transport import Output
from qmpd.options import groups
from qmpd.options.qemu_opts import parse_opts
from qmpd.profile import Profile, load
from qmpd.server import address as addresses
from tests.support.stdio import Gone

_PLAIN = ["qemu-system-x86_64", "-machine", "none", "-nodefaults"]
_MONITOR = ["-display", "none", "-qmp", "stdio"]


def is_plain(argv: list[str]) -> bool:
    """Whether `HeldMachine` has what the command line asks for: one monitor, and drives."""
    more = argv[len(_PLAIN) + len(_MONITOR) :]
    return argv == _PLAIN + _MONITOR + more and set(more[::2]) <= {"-drive"}


def _silent(text: str, location: str | None) -> None:
    """Take a warning, and say nothing."""


class _OneChardev(NoCharDevices):
    """The monitor's."""

    def infos(self) -> list[dict[str, Any]]:
        return [{"label": "compat_monitor0", "filename": "stdio", "frontend-open": True}]


class _Printing(NoHost):
    """Hands on what the machine prints; servers are only looked for."""

    def __init__(self, lines: deque[bytes]) -> None:
        self._lines = lines

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        try:
            addresses.connect(addresses.read_address(address)).close()
        except QmpError as error:
            failed(error)
            return Timer(lambda: None)
        return super().connect(address, connect, failed)

    def print(self, text: str) -> None:
        self._lines.extend(line.encode() for line in text.splitlines(keepends=True))

    @property
    def chardevs(self) -> CharDevices:
        return _OneChardev()

    def report(self, text: str) -> None:
        """Drop what is for standard error."""


class HeldMachine:
    """Answers as a program on its standard input and output does; see `StdioProgram`.

    :param argv: the command line, for which `is_plain` holds
    :param profile: the version of QEMU to be
    """

    def __init__(self, argv: list[str], profile: Profile | None = None) -> None:
        self._lines: deque[bytes] = deque()
        self._clock = PacedClock(Pace.HELD)
        self._machine = Machine(
            Clocks.of(self._clock),
            HostStorage(),
            MachineConfig(profile=load() if profile is None else profile),
            host=_Printing(self._lines),
            random=Random(0),
            thread_id=1,
        )
        for drive in argv[len(_PLAIN) + len(_MONITOR) + 1 :: 2]:
            opts = parse_opts(groups.DRIVE, drive, _silent, implied=False)
            self._clock.run(self._machine.drives.add(opts, ""))
        self._monitors = Monitors(self._machine)
        self._monitor = self._monitors.add_qmp("session", Output(self._written))
        self._monitor.opened()

    def _written(self, data: bytes) -> None:
        self._lines.extend(data.splitlines(keepends=True))

    def send(self, data: bytes) -> None:
        self._monitor.feed(data)

    def line(self) -> bytes:
        """The next line; the machine runs, and time passes, only until it is there.

        :raises Gone: the machine has nothing left to do that would make it print one
        """
        while not self._lines:
            if self._clock.run_ready(1):
                continue
            due = self._clock.next_due()
            if due is None:
                raise Gone("it waits, and nothing is left to be done")
            self._clock.advance(due - self._clock.now())
        return self._lines.popleft()

    def pause(self, seconds: float) -> None:
        """Let so much time pass."""
        if seconds:
            self._clock.advance(round(seconds * NANOSECONDS))

    def close(self) -> None:
        self._monitors.close()
        self._clock.run(self._machine.close())

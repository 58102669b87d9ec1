"""One machine on the bench, with everything that a test may do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.errors import MachineClosed
from qmpd.sim.journal.log import Log

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.machine.machine import Machine
    from qmpd.monitor.monitors import Monitors
    from qmpd.sim.journal.entry import Kind


class Bench:
    """A machine, its monitors, and the tools of the bench that act on them.

    The tools are made when they are first used: a machine that nobody tests pays nothing for them.

    :param clock: what runs the machine
    """

    def __init__(self, machine: Machine, monitors: Monitors, clock: Clock) -> None:
        self.machine = machine
        self.monitors = monitors
        self.clock = clock
        self.closed = False
        """Whether the machine has ended."""
        self.log = Log(clock.now)
        """All that has happened to the machine."""
        self.watch()

    def watch(self) -> None:
        """Keep the journal of the machine and the monitors, which are new."""
        self.log.now = self.clock.now
        self.monitors.add_tap(self.log)
        self.machine.events.subscribe(self.log.happened)

    def note(self, kind: Kind, *, monitor: str | None = None, **data: Any) -> None:
        """Note in the journal what did not come over a monitor.

        :param kind: what it is about; `qmpd.sim.journal.entry.KINDS` describes them
        :param monitor: the label of the monitor that it has to do with
        :param data: what happened, in plain values that JSON can show
        """
        self.log.note(kind, monitor, data)

    def require_open(self) -> None:
        """Check that the machine has not ended.

        :raises MachineClosed: it has
        """
        if self.closed:
            raise MachineClosed("the machine has been closed")

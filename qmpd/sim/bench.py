"""One machine on the bench, with everything that a test may do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import MachineClosed

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.machine.machine import Machine
    from qmpd.monitor.monitors import Monitors


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

    def require_open(self) -> None:
        """Check that the machine has not ended.

        :raises MachineClosed: it has
        """
        if self.closed:
            raise MachineClosed("the machine has been closed")

"""A machine that runs only while somebody waits for it."""

from __future__ import annotations

import time
from typing import Final, Protocol

from qmpd.errors import WaitsForever
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.paced_clock import Pace, PacedClock
from qmpd.loop.task import Task

LONGEST: Final = 86400 * NANOSECONDS
"""How far a virtual clock goes for one call: some jobs set timers for ever."""


class Clocked(Protocol):
    """Whose machine it is; he may put another one in its place, with another clock."""

    @property
    def clock(self) -> PacedClock:
        """The clock of the machine that there is now."""


def run_to_end(holder: Clocked, task: Task, what: str) -> None:
    """Run a machine until `task` has ended.

    :param what: what is waited for, for the error's text
    :raises WaitsForever: the task waits for what will never come; it is cancelled
    """
    end = holder.clock.now() + LONGEST
    while not task.done:
        if not holder.clock.run_ready(1) and not pass_time(holder.clock, end):
            task.cancel()
            raise WaitsForever(_why(holder.clock, what))


def pass_time(clock: PacedClock, end: int) -> bool:
    """Let time pass up to the next timer; False if nothing will come of that.

    :param end: when a virtual clock has gone far enough
    """
    if clock.pace is not Pace.REAL:
        return clock.now() < end and clock.jump()
    due = clock.next_due()
    if due is None:
        return False
    time.sleep(max(0, due - clock.now()) / NANOSECONDS)
    return True


def _why(clock: PacedClock, what: str) -> str:
    """Why a wait has no end."""
    due = clock.next_due()
    if due is None:
        return f"{what}: the machine has nothing left to do, and no timer is set"
    if clock.pace is Pace.VIRTUAL:
        return f"{what}: not in a day of the machine's time"
    seconds = (due - clock.now()) / NANOSECONDS
    return f"{what}: the clock is held; the next timer is due in {seconds:g} s (clock.advance)"

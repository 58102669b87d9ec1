"""Time that passes because somebody says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qmpd.loop.clock import NANOSECONDS, Clock
from qmpd.loop.paced_clock import Pace, PacedClock

LONGEST: Final = 86400 * NANOSECONDS
"""How long `until_idle` goes on unless it is said otherwise: some jobs set timers for ever."""


@dataclass(frozen=True, slots=True)
class ClockView:
    """A clock at one moment.

    :param mode: ``real``, ``virtual`` or ``held``
    :param now: nanoseconds since the machine was made
    :param date: nanoseconds since 1970
    :param next_due: when the next timer rings, as `now` counts; None if none is set, or if that
        cannot be told
    """

    mode: str
    now: int
    date: int
    next_due: int | None


def view(clock: Clock) -> ClockView:
    """What a clock shows."""
    if isinstance(clock, PacedClock):
        return ClockView(clock.pace.value, clock.now(), clock.date(), clock.next_due())
    return ClockView(Pace.REAL.value, clock.now(), clock.date(), None)


async def advance(clock: Clock, delta: int) -> None:
    """Let `delta` nanoseconds pass.

    :raises ValueError: it is negative
    """
    if delta < 0:
        raise ValueError("time does not go back")
    if isinstance(clock, PacedClock) and clock.pace is not Pace.REAL:
        clock.advance(delta)
    else:
        await clock.sleep(delta)


async def until_idle(clock: Clock, limit: int) -> None:
    """Let time pass until no timer is set.

    :param limit: nanoseconds
    :raises TimeoutError: some are set still after that time
    :raises ValueError: the clock cannot tell of its timers
    """
    if not isinstance(clock, PacedClock):
        raise ValueError("the clock is one of real time, which cannot tell of its timers")
    end = clock.now() + limit
    while True:
        await clock.turns(1)
        if not clock.idle:
            continue
        due = clock.next_due()
        if due is None:
            return
        if due > end:
            raise TimeoutError(f"timers are still set after {limit / NANOSECONDS:g} s")
        await advance(clock, max(0, due - clock.now()))

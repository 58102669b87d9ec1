"""Time that passes because somebody says so."""

from __future__ import annotations

from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.paced_clock import Pace, PacedClock


async def advance(clock: PacedClock, delta: int) -> None:
    """Let `delta` nanoseconds pass."""
    if clock.pace is Pace.REAL:
        await clock.sleep(delta)
    else:
        clock.advance(delta)


async def until_idle(clock: PacedClock, limit: int) -> None:
    """Let time pass until no timer is set.

    :param limit: nanoseconds
    :raises TimeoutError: some are set still after that time
    """
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
        await advance(clock, due - clock.now())

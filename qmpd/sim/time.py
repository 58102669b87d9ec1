"""Time that passes because somebody says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qmpd.errors import WaitsForever
from qmpd.loop.clock import NANOSECONDS, Clock
from qmpd.loop.paced_clock import Pace, PacedClock
from qmpd.loop.task import Waiter
from qmpd.sim.match import Event, Match, event_match

if TYPE_CHECKING:
    from qmpd.loop.events import EventRecord
    from qmpd.sim.bench import Bench

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
        raise ValueError("a clock of real time that an event loop has cannot tell of its timers")
    end = clock.now() + limit
    while True:
        await clock.quiet()
        due = clock.next_due()
        if due is None:
            return
        if due > end:
            raise TimeoutError(f"timers are still set after {limit / NANOSECONDS:g} s")
        await advance(clock, max(0, due - clock.now()))


async def until(clock: Clock, waiter: Waiter, limit: int, what: str) -> None:
    """Let time pass until `waiter` is woken, and no longer.

    :param limit: nanoseconds
    :param what: what it waits for, for the error's text
    :raises TimeoutError: it is not woken within that time
    :raises WaitsForever: nothing is left to be done that could wake it
    """
    late = TimeoutError(f"no {what} within {limit / NANOSECONDS:g} s of the machine's time")
    if not isinstance(clock, PacedClock) or clock.pace is not Pace.HELD:
        timed_out: list[bool] = []

        def ring() -> None:
            timed_out.append(True)
            waiter.wake()

        timer = clock.call_later(limit, ring)
        try:
            await waiter
        finally:
            timer.cancel()
        if timed_out:
            raise late
        return
    end = clock.now() + limit
    while not waiter.done:
        await clock.reschedule()
        if waiter.done or not clock.idle:
            continue
        due = clock.next_due()
        if due is None:
            raise WaitsForever(f"{what}: the machine has nothing left to do, and no timer is set")
        if due > end:
            raise late
        clock.advance(max(0, due - clock.now()))


async def until_event(bench: Bench, name: str, match: Match, limit: int) -> Event:
    """Let time pass until the machine sends an event.

    :param match: what the event must have: see `qmpd.sim.match.event_match`
    :param limit: nanoseconds
    :returns: the event as it comes over QMP
    :raises TimeoutError: it does not come within that time
    :raises WaitsForever: nothing is left to be done that could send it
    """
    waiter = Waiter()
    found: list[Event] = []

    def see(record: EventRecord) -> None:
        if record.name != name or found:
            return
        event: Event = {"event": name}
        if record.data is not None:
            event["data"] = dict(record.data)
        event["timestamp"] = {"seconds": record.seconds, "microseconds": record.microseconds}
        if event_match(event, match):
            found.append(event)
            waiter.wake()

    stop = bench.machine.events.subscribe(see)
    try:
        await until(bench.clock, waiter, limit, f"event {name}")
    finally:
        stop()
    return found[0]

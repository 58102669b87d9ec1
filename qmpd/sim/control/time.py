"""Commands of schema module sim-time: the machine's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.loop.clock import NANOSECONDS
from qmpd.sim import time
from qmpd.sim.control.context import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.control.models.sim_time import (
        XSimClockAdvanceArguments,
        XSimClockUntilEventArguments,
        XSimClockUntilIdleArguments,
        XSimPaceArguments,
    )


def query_clock(context: Context, _: None) -> dict[str, Any]:
    """SimClock."""
    view = time.view(context.bench.clock)
    info: dict[str, Any] = {"mode": view.mode, "now": view.now, "date": view.date}
    if view.next_due is not None:
        info["next-due"] = view.next_due
    return info


async def clock_advance(context: Context, arguments: XSimClockAdvanceArguments) -> dict[str, Any]:
    """Let time pass."""
    await time.advance(context.bench.clock, round(arguments.seconds * NANOSECONDS))
    return query_clock(context, None)


async def clock_until_idle(
    context: Context, arguments: XSimClockUntilIdleArguments
) -> dict[str, Any]:
    """Let time pass until no timer is set."""
    await time.until_idle(context.bench.clock, _limit(arguments.limit))
    return query_clock(context, None)


async def clock_until_event(
    context: Context, arguments: XSimClockUntilEventArguments
) -> dict[str, Any]:
    """Let time pass until an event is sent."""
    limit = _limit(arguments.limit)
    return await time.until_event(context.bench, arguments.name, arguments.match, limit)


def _limit(seconds: float | None) -> int:
    return time.LONGEST if seconds is None else round(seconds * NANOSECONDS)


def pace(context: Context, arguments: XSimPaceArguments) -> None:
    """Say how fast a node is for jobs."""
    paces = context.bench.paces
    paces.set(arguments.node, arguments.bytes_per_second, arguments.seconds or 0.0)


def query_paces(context: Context, _: None) -> list[dict[str, Any]]:
    """The nodes that take time."""
    return [
        {"node": node, "seconds": seconds}
        if limit is None
        else {"node": node, "bytes-per-second": limit, "seconds": seconds}
        for node, limit, seconds in context.bench.paces
    ]


HANDLERS: Final[Handlers] = {
    "x-sim-query-clock": query_clock,
    "x-sim-clock-advance": clock_advance,
    "x-sim-clock-until-idle": clock_until_idle,
    "x-sim-clock-until-event": clock_until_event,
    "x-sim-pace": pace,
    "x-sim-query-paces": query_paces,
}

"""Rate limits of events: at most one per period and key (monitor/monitor.c).

Of a burst the first event goes out at once and of the rest only the last, when the
period is over, with the time of its own occurrence.  There are no timers here: the
user of a `RateLimiter` asks it when to call it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

SECOND: Final = 1_000_000_000


class Limit(NamedTuple):
    """How an event is limited.

    :param member: member of the data whose values are limited separately
    :param period: nanoseconds between two
    """

    member: str | None = None
    period: int = SECOND


LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "BALLOON_CHANGE": Limit(),
        "BLOCK_IO_ERROR": Limit("qom-path"),
        "HV_BALLOON_STATUS_REPORT": Limit(),
        "MEMORY_DEVICE_SIZE_CHANGE": Limit("qom-path"),
        "QUORUM_FAILURE": Limit(),
        "QUORUM_REPORT_BAD": Limit("node-name"),
        "RTC_CHANGE": Limit(),
        "VSERPORT_CHANGE": Limit("id"),
        "WATCHDOG": Limit(),
    }
)
"""The limited events; all others are sent at once, each of them."""


class _Event(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def data(self) -> Mapping[str, object] | None: ...


E = TypeVar("E", bound=_Event)
_Key = tuple[str, object]


class _Period(Generic[E]):
    """A period that has not ended."""

    __slots__ = ("end", "held")

    def __init__(self, end: int) -> None:
        self.end = end
        self.held: E | None = None


class RateLimiter(Generic[E]):
    """The limits of one machine; they are common to all its monitors.

    Times are nanoseconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._periods: dict[_Key, _Period[E]] = {}

    def offer(self, event: E, now: int) -> bool:
        """Take an event that happened.

        :returns: whether to send it at once; otherwise `expire` hands it out, unless a later
            one of its key takes its place
        """
        limit = LIMITS.get(event.name)
        if limit is None:
            return True
        member = None if limit.member is None else (event.data or {}).get(limit.member)
        key = (event.name, member)
        period = self._periods.get(key)
        if period is not None:
            period.held = event
            return False
        self._periods[key] = _Period(now + limit.period)
        return True

    def deadline(self) -> int | None:
        """When to call `expire` next; None: not before another event."""
        return min((period.end for period in self._periods.values()), default=None)

    def expire(self, now: int) -> list[E]:
        """End the periods that are over.

        :returns: the held events to send now, those of the earliest period first; each starts
            a new period
        """
        over = sorted(
            (item for item in self._periods.items() if item[1].end <= now),
            key=lambda item: item[1].end,
        )
        events = []
        for key, period in over:
            del self._periods[key]
            if period.held is not None:
                events.append(period.held)
                self._periods[key] = _Period(now + LIMITS[key[0]].period)
        return events

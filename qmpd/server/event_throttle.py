"""Events on their way to the monitors, at most so often as QEMU sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qmpd.clock import Clock
    from qmpd.events import EventRecord

PERIOD: Final = 1_000_000_000
"""Nanoseconds between two limited events of one key."""

LIMITED: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "BALLOON_CHANGE": None,
        "BLOCK_IO_ERROR": "qom-path",
        "HV_BALLOON_STATUS_REPORT": None,
        "MEMORY_DEVICE_SIZE_CHANGE": "qom-path",
        "QUORUM_FAILURE": None,
        "QUORUM_REPORT_BAD": "node-name",
        "RTC_CHANGE": None,
        "VSERPORT_CHANGE": "id",
        "WATCHDOG": None,
    }
)
"""Events whose rate is limited, with the member of their data that tells apart
what is limited separately."""

_Key = tuple[str, object]


class EventThrottle:
    """Passes events on; of a burst of a limited one the first and then only the last.

    What is held back goes out, with the time of its own occurrence, when the
    period is over.  One throttle serves all monitors of a machine.

    :param deliver: takes the events that pass
    """

    def __init__(self, clock: Clock, deliver: Callable[[EventRecord], None]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._held: dict[_Key, EventRecord | None] = {}

    def __call__(self, event: EventRecord) -> None:
        """Take an event from the machine's bus."""
        if event.name not in LIMITED:
            self._deliver(event)
            return
        member = LIMITED[event.name]
        key = (event.name, None if member is None else (event.data or {}).get(member))
        if key in self._held:
            self._held[key] = event
        else:
            self._held[key] = None
            self._deliver(event)
            self._clock.call_later(PERIOD, lambda: self._period_over(key))

    def _period_over(self, key: _Key) -> None:
        event = self._held.pop(key)
        if event is not None:
            self._held[key] = None
            self._deliver(event)
            self._clock.call_later(PERIOD, lambda: self._period_over(key))

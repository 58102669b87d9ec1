"""Where a machine's events go: one bus, any number of subscribers.

An event is stamped when it happens.  Which monitor gets it, and how often, is
the business of the subscribers (the server limits the rate as QEMU does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class Emit(Protocol):
    """How the block layer and the jobs say that something happened."""

    def __call__(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Emit event `name`; `data` has its members in schema order, None for no data."""


class EventRecord(NamedTuple):
    """One event that happened.

    `seconds` and `microseconds` are the wall clock's at that moment.
    """

    name: str
    data: Mapping[str, object] | None
    seconds: int
    microseconds: int


Subscriber = Callable[[EventRecord], None]

Filter = Callable[[EventRecord], EventRecord | None]
"""What is shown of an event; None where it is not shown at all."""


class EventBus:
    """The events of one machine.

    :param date: tells the nanoseconds since 1970
    :param shown: what subscribers see of an event; all of it if absent
    """

    def __init__(self, date: Callable[[], int], shown: Filter | None = None) -> None:
        self._date = date
        self._shown = shown
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Hand every later event to `subscriber`; returns what ends the subscription."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Stamp the event and hand it to all subscribers, in order of subscription."""
        microseconds = self._date() // 1000
        record = EventRecord(name, data, microseconds // 1_000_000, microseconds % 1_000_000)
        if self._shown is not None:
            shown = self._shown(record)
            if shown is None:
                return
            record = shown
        for subscriber in tuple(self._subscribers):
            subscriber(record)

"""The events that a program has not taken yet, and what waits for them.

Events are dictionaries as they come over QMP: ``event``, ``timestamp`` and, mostly, ``data``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from qmpd.loop.task import Waiter
from qmpd.sim.match import Event, Match, event_match


class Watch:
    """Somebody who waits for an event.

    :param wants: whether an event is the one
    :param takes: whether the event is then his alone, and not kept
    """

    def __init__(self, wants: Callable[[Event], bool], *, takes: bool) -> None:
        self.wants = wants
        self.takes = takes
        self.waiter = Waiter()
        self.event: Event | None = None


class EventQueue:
    """Events in the order in which they came."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque()
        self._watches: list[Watch] = []
        self.keeps = True
        """Whether events are kept that nobody waits for; not where there is no program."""

    def put(self, event: Event) -> None:
        """Give an event to whoever waits for it, and keep it unless somebody takes it."""
        taken = False
        for watch in [watch for watch in self._watches if watch.wants(event)]:
            if taken and watch.takes:
                continue
            taken = taken or watch.takes
            self._watches.remove(watch)
            watch.event = event
            watch.waiter.wake()
        if not taken and self.keeps:
            self._kept.append(event)

    def take(self, wants: Callable[[Event], bool]) -> Event | None:
        """Take the first event that is wanted; None if there is none."""
        for event in self._kept:
            if wants(event):
                self._kept.remove(event)
                return event
        return None

    def kept(self) -> list[Event]:
        """All events, which stay."""
        return list(self._kept)

    def take_all(self) -> list[Event]:
        """Take all events."""
        events = list(self._kept)
        self._kept.clear()
        return events

    def watch(self, wants: Callable[[Event], bool], *, takes: bool = True) -> Watch:
        """Wait for an event that is still to come."""
        watch = Watch(wants, takes=takes)
        self._watches.append(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Wait no longer."""
        if watch in self._watches:
            self._watches.remove(watch)


def any_of(events: Iterable[tuple[str, Match]]) -> Callable[[Event], bool]:
    """Whether an event has one of these names, and what belongs to it."""
    wanted = list(events)

    def wants(event: Event) -> bool:
        return any(event["event"] == name and event_match(event, match) for name, match in wanted)

    return wants

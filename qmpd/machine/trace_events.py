"""The trace events of the program that a machine passes for, and which are switched on.

They are places in QEMU's code, which qmpd does not have: it keeps their state, as clients see it,
and none ever happens.
"""

from __future__ import annotations

from fnmatch import translate
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.profile.recorded.store import TraceEvent


class TraceEvents:
    """The trace events of one program.

    :param known: all of them, in QEMU's order
    """

    def __init__(self, known: tuple[TraceEvent, ...]) -> None:
        self._known = {event.name: event for event in known}
        self._enabled = {event.name for event in known if event.enabled}

    def _matching(self, name: str, *, needs_available: bool) -> Iterator[TraceEvent]:
        """The events that a name or a pattern means (``check_events``).

        :raises GenericError: there is none of that name, or one cannot be switched
        """
        if "*" not in name:
            if name not in self._known:
                raise GenericError(f'unknown event "{name}"')
            found = [self._known[name]]
        else:
            matches = compile_pattern(translate(name.replace("[", "[[]"))).match
            found = [event for event in self._known.values() if matches(event.name)]
        for event in found:
            if needs_available and not event.available:
                raise GenericError(f'event "{event.name}" is disabled')
        return iter(found)

    def query(self, name: str) -> list[dict[str, Any]]:
        """TraceEventInfo of the events that a name or a pattern means, the last one first.

        :raises GenericError: there is none of that name
        """
        found = [
            {"name": event.name, "state": self._state(event)}
            for event in self._matching(name, needs_available=False)
        ]
        return found[::-1]

    def _state(self, event: TraceEvent) -> str:
        if not event.available:
            return "unavailable"
        return "enabled" if event.name in self._enabled else "disabled"

    def set(self, name: str, *, enable: bool, ignore_unavailable: bool) -> None:
        """Switch events on or off.

        :param name: of one event, or a pattern
        :raises GenericError: there is none of that name, or one was left out of the program
        """
        for event in self._matching(name, needs_available=not ignore_unavailable):
            if not event.available:
                continue
            if enable:
                self._enabled.add(event.name)
            else:
                self._enabled.discard(event.name)

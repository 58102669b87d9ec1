"""The trace events of the program that a machine passes for, and which are switched on.

They are places in QEMU's code, which qmpd does not have: it keeps their state, as clients see it,
and none ever happens.
"""

from __future__ import annotations

from fnmatch import translate
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError
from qmpd.profile.program_rules import EVENTS_OF_PROCESSORS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from qmpd.profile.recorded.store import TraceEvent


class TraceEvents:
    """The trace events of one program.

    :param known: all of them, in QEMU's order
    """

    def __init__(self, known: tuple[TraceEvent, ...]) -> None:
        self._known = {event.name: event for event in known}
        self._enabled = {event.name for event in known if event.enabled}
        self._only: dict[str, set[int]] = {}
        """Processors of which events are told that are not told of all."""

    def _matching(
        self, name: str, *, needs_available: bool, of_processors: bool = False
    ) -> Iterator[TraceEvent]:
        """The events that a name or a pattern means (``check_events``).

        :param of_processors: only those that are told of each processor
        :raises GenericError: there is none of that name, or one cannot be switched
        """
        if "*" not in name:
            if name not in self._known:
                raise GenericError(f'unknown event "{name}"')
            if of_processors and name not in EVENTS_OF_PROCESSORS:
                raise GenericError(f'event "{name}" is not vCPU-specific')
            found = [self._known[name]]
        else:
            matches = compile_pattern(translate(name.replace("[", "[[]"))).match
            found = [event for event in self._known.values() if matches(event.name)]
        for event in found:
            if needs_available and not event.available:
                raise GenericError(f'event "{event.name}" is disabled')
        if of_processors:
            found = [event for event in found if event.name in EVENTS_OF_PROCESSORS]
        return iter(found)

    def query(self, name: str, processor: int | None = None) -> list[dict[str, Any]]:
        """TraceEventInfo of the events that a name or a pattern means, the last one first.

        :param processor: of which they are told, those that are told of each
        :raises GenericError: there is none of that name
        """
        chosen = processor is not None
        found = [
            {"name": event.name, "state": self._state(event, processor)}
            for event in self._matching(name, needs_available=False, of_processors=chosen)
        ]
        return found[::-1]

    def _state(self, event: TraceEvent, processor: int | None) -> str:
        if not event.available:
            return "unavailable"
        only = self._only.get(event.name)
        told = only is None or processor is None or processor in only
        return "enabled" if told and event.name in self._enabled else "disabled"

    def set(self, name: str, *, enable: bool, ignore_unavailable: bool) -> None:
        """Switch events on or off.

        :param name: of one event, or a pattern
        :raises GenericError: there is none of that name, or one was left out of the program
        """
        for event in self._matching(name, needs_available=not ignore_unavailable):
            if not event.available:
                continue
            self._only.pop(event.name, None)
            if enable:
                self._enabled.add(event.name)
            else:
                self._enabled.discard(event.name)

    def set_of(
        self,
        processor: int,
        name: str,
        processors: Collection[int],
        *,
        enable: bool,
        ignore_unavailable: bool,
    ) -> None:
        """Switch events on or off that are told of each processor, for one of them.

        :param processors: all that there are
        :raises GenericError: as `set`, or the event is not one of these
        """
        needed = not ignore_unavailable
        for event in self._matching(name, needs_available=needed, of_processors=True):
            if not event.available:
                continue
            everywhere = set(processors) if event.name in self._enabled else set()
            only = self._only.setdefault(event.name, everywhere)
            if enable:
                only.add(processor)
                self._enabled.add(event.name)
            else:
                only.discard(processor)
                if not only:
                    self._enabled.discard(event.name)

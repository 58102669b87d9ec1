"""``-trace``: which trace events are switched on from the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError
from qmpd.machine.trace_events import TraceEvents
from qmpd.profile.personality import Personality
from qmpd.profile.shipped import load

if TYPE_CHECKING:
    from collections.abc import Callable


def known_events() -> TraceEvents:
    """The trace events of the system emulator."""
    return TraceEvents(load().recorded(Personality.SYSTEM).trace_events)


def switch(events: TraceEvents, text: str, warn: Callable[[str], None]) -> None:
    """Switch events on, or off where there is a minus (``trace_enable_events``).

    :param text: name of an event, or a pattern
    :param warn: told that there is no such event, or that it cannot be switched
    """
    name = text.removeprefix("-")
    try:
        found = events.query(name)
        events.set(name, enable=not text.startswith("-"), ignore_unavailable=True)
    except GenericError:
        warn(f"trace event '{name}' does not exist")
        return
    if "*" not in name and found[0]["state"] == "unavailable":
        warn(f"trace event '{name}' is not traceable")

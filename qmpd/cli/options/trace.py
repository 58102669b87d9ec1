"""``-trace``: which trace events are switched on from the start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qmpd.base.console import write
from qmpd.cli.report import Probe
from qmpd.errors import GenericError
from qmpd.machine.trace_events import TraceEvents
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.profile import Profile


def known_events(profile: Profile) -> TraceEvents:
    """The trace events of the system emulator."""
    return TraceEvents(profile.recorded(Personality.SYSTEM).trace_events)


def event_names(profile: Profile) -> Probe:
    """What help of them prints."""
    events = reversed(known_events(profile).query("*"))
    names = "".join(f"{event['name']}\n" for event in events)
    if not profile.rules.holds("trace-help-goes-to-errors"):
        return Probe(names)
    write(sys.stderr, names)
    return Probe("")


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

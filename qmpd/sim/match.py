"""Whether an event is the one that somebody waits for."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]
"""An event as it comes over QMP: ``event``, ``timestamp`` and, mostly, ``data``."""

Match = Any
"""What an event must have: see `event_match`."""


def event_match(event: Any, match: Match) -> bool:
    """Whether `event` has everything that `match` has, as in `qemu.machine`.

    A dictionary matches when each of its members does; None matches anything.

    >>> event_match({"event": "STOP", "data": {"a": 1, "b": 2}}, {"data": {"b": 2}})
    True
    >>> event_match({"event": "STOP"}, {"data": None})
    False
    """
    if match is None:
        return True
    if isinstance(match, dict) and isinstance(event, dict):
        return all(
            name in event and event_match(event[name], wanted) for name, wanted in match.items()
        )
    return bool(match == event)

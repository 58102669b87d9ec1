"""How a test names something that has happened: a name, a pair, a dictionary or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qmpd.sim.journal.entry import Entry
from qmpd.sim.journal.matchers import ANY, matches

Step = str | tuple[str, Any] | dict[str, Any] | Callable[[Entry], bool]
"""The name of a command or event; with what it carries; members of an entry; or a function."""


def read_step(step: Step, *, failed: bool = False) -> Callable[[Entry], bool]:
    """What tells of an entry whether it is the one.

    :param failed: a name means a failing answer, not a request
    :raises ValueError: a dictionary names a member that entries do not have
    :raises TypeError: it is nothing of the kind
    """
    if isinstance(step, str):
        return _named(step, ANY, failed)
    if isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str):
        return _named(*step, failed)
    if isinstance(step, dict):
        return _with_members(step)
    if callable(step):
        return step
    raise TypeError(
        f"{step!r} is no name, no pair of a name and a match, no dictionary, no function"
    )


def _named(name: str, match: Any, failed: bool) -> Callable[[Entry], bool]:
    def is_it(entry: Entry) -> bool:
        if entry.kind == "event":
            return entry.event == name and matches(entry.data, match)
        if entry.command != name:
            return False
        if failed:
            return entry.kind == "answer" and matches(entry.error, match)
        return entry.kind == "request" and matches(entry.arguments, match)

    return is_it


def _with_members(members: dict[str, Any]) -> Callable[[Entry], bool]:
    for name in members:
        if name not in Entry.__slots__ and name != "value":
            known = ", ".join(Entry.__slots__)
            raise ValueError(f"entries have no member {name!r}; they have {known}, value")
    return lambda entry: all(matches(getattr(entry, n), part) for n, part in members.items())

"""Where two messages differ, but for what may differ between any two runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from qmpd.sim.record.normal import GENERATED, VARYING, normal_text

_DIRECTORY: Final = re.compile(r"(?<![\w.:/])/(?:[^/\s\"':,]+/)*(?=[^/\s\"':,]+)")
"""The beginning of an absolute path, up to the file's name."""


_VARYING: Final = VARYING | {"package"}


class _Nothing:
    """In the place of what only the other side has."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING: Final[Any] = _Nothing()


class Difference(NamedTuple):
    """Two values that differ.

    :param path: where in the message, e.g. ``return[0].device``
    """

    path: str
    recorded: Any
    played: Any


def plain_text(text: str) -> str:
    """A text without generated names, packages, rates, and the directories of paths."""
    return _DIRECTORY.sub("", normal_text(text))


def differences(recorded: Any, played: Any, path: str = "") -> Iterator[Difference]:
    """Where two messages differ, in the order of the recorded one."""
    if isinstance(recorded, dict) and isinstance(played, dict):
        if set(recorded) == set(played) == {"seconds", "microseconds"}:
            return
        yield from _members(recorded, played, path)
    elif isinstance(recorded, list) and isinstance(played, list):
        pairs = zip_longest(recorded, played, fillvalue=NOTHING)
        for number, (one, other) in enumerate(pairs):
            yield from differences(one, other, f"{path}[{number}]")
    elif isinstance(recorded, str) and isinstance(played, str):
        if plain_text(recorded) != plain_text(played):
            yield Difference(path, recorded, played)
    elif type(recorded) is not type(played) or recorded != played:
        yield Difference(path, recorded, played)


def _members(recorded: dict[str, Any], played: dict[str, Any], path: str) -> Iterator[Difference]:
    dot = "." if path else ""
    for name, value in recorded.items():
        if name not in _VARYING or name not in played:
            other = played.get(name, NOTHING)
            yield from differences(value, other, f"{path}{dot}{name}")
    for name, value in played.items():
        if name not in recorded:
            yield Difference(f"{path}{dot}{name}", NOTHING, value)
    if set(recorded) == set(played) and list(recorded) != list(played):
        yield Difference(f"{path}, order of members", ", ".join(recorded), ", ".join(played))


def pair_names(recorded: Any, played: Any, pairs: dict[str, str]) -> None:
    """Learn which generated names stand at the same places of two messages.

    :param pairs: gets those of the recorded message, each with the other
    """
    if isinstance(recorded, dict) and isinstance(played, dict):
        for name in recorded.keys() & played.keys():
            pair_names(recorded[name], played[name], pairs)
    elif isinstance(recorded, list) and isinstance(played, list):
        for one, other in zip(recorded, played, strict=False):
            pair_names(one, other, pairs)
    elif isinstance(recorded, str) and isinstance(played, str):
        ones, others = GENERATED.findall(recorded), GENERATED.findall(played)
        if len(ones) == len(others):
            pairs.update(zip(ones, others, strict=True))

"""The condition of the schema that takes something away from a version."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from qmpd.profile.shipped import VERSIONS, load, schema_path
from qmpd.qapi.compiler.conditions import Conditions, read_conditions
from qmpd.qapi.runtime.type_table import BUILTINS, ObjectInfo, array_element


@cache
def _conditions() -> Conditions:
    return read_conditions(schema_path())


def condition(name: str, part: str | None = None) -> str | None:
    """The condition of a definition, or of a part of it; None where there is none.

    A member may stand in a base of the type, or in a branch, or be an argument of the command that
    the type is made for.
    """
    known = _conditions()
    while (element := array_element(name)) is not None:
        name = element
    places = {name: False, **dict(_places(name, part))}
    for place in places:
        if (place, part) in known:
            return known[place, part]
    return next((known.get((place, None)) for place, has_it in places.items() if has_it), None)


def _places(name: str, part: str | None) -> Iterator[tuple[str, bool]]:
    """Definitions that may have a part of a type, the newest first, and whether they do."""
    for version in reversed(VERSIONS):
        profile = load(version)
        for command in profile.entry_points:
            if command.arguments == name:
                yield command.name, False
        info = None if name in BUILTINS else profile.types.get(name)
        queue = [info]
        seen: set[str] = set()
        while queue:
            each = queue.pop()
            if isinstance(each, ObjectInfo) and each.name not in seen:
                seen.add(each.name)
                yield each.name, any(member.name == part for member in each.local)
                inner = [*each.branches.values(), *filter(None, [each.base])]
                queue += [profile.types.get(other) for other in inner]

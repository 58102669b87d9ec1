"""Makes arguments that no command accepts, out of the type table.

Every set of arguments has an unexpected member at its top, so that the command never
runs, and any number of further defects, one of which is reported first.
"""

from __future__ import annotations

from random import Random
from typing import Any

from qmpd.qapi.runtime.type_table import (
    BUILTINS,
    INT_RANGES,
    AlternateInfo,
    EnumInfo,
    ObjectInfo,
    TypeTable,
    array_element,
)

_EDGES = sorted(
    {
        edge + step
        for low, high in INT_RANGES.values()
        for edge in (low, high)
        for step in (-1, 0, 1)
    }
    | {2**64 + 5, 2**70, -(2**70), 7}
)
_WRONG: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "x",
    "1",
    5,
    -1,
    1.5,
    1e300,
    [],
    [None],
    {},
    {"x": 1},
)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABZ-_.0189é\u20ac\U0001f600 \"'\\\x00\x7f\n"


class Malformed:
    """Makes arguments for the commands of `table`.

    :param defects: chance of a defect at each place where there can be one
    """

    def __init__(self, table: TypeTable, random: Random, defects: float = 0.05) -> None:
        self._table = table
        self._random = random
        self._defects = defects

    def arguments(self, type_name: str | None) -> dict[str, Any]:
        """Arguments of type `type_name`; None is the type of no arguments."""
        members: dict[str, Any] = {}
        if type_name is not None:
            self._members(self._table.object(type_name), members, 0)
        for _ in range(self._random.choice((1, 1, 2, 3, 9))):
            members[self._fresh_key(members)] = self._random.choice(_WRONG)
        return self._shuffled(members)

    def _fresh_key(self, members: dict[str, Any]) -> str:
        """A key that no schema has: it is empty or ends in an equals sign."""
        length = self._random.choice((None, 0, 1, 2, 3, 8))
        if length is None:
            return ""
        return "".join(self._random.choices(_LETTERS, k=length)) + "="

    def _shuffled(self, members: dict[str, Any]) -> dict[str, Any]:
        items = list(members.items())
        self._random.shuffle(items)
        return dict(items)

    def _defect(self) -> bool:
        return self._random.random() < self._defects

    def value(self, type_name: str, depth: int = 0) -> Any:
        """A value of type `type_name`, or nearly."""
        if self._defect():
            return self._random.choice((*_WRONG, self._random.choice(_EDGES)))
        element = array_element(type_name)
        if element is not None:
            count = self._random.choice((0, 1, 2, 4)) if depth < 5 else 0
            return [self.value(element, depth + 1) for _ in range(count)]
        if type_name in BUILTINS:
            return self._builtin(type_name)
        info = self._table[type_name]
        if isinstance(info, EnumInfo):
            if self._defect():
                return self._random.choice(("", "nope", "é", next(iter(info.values)) + " "))
            return self._random.choice(list(info.values))
        if isinstance(info, AlternateInfo):
            kinds = [kind for kind in info.by_kind if depth < 5 or kind != "object"]
            return self.value(info.by_kind[self._random.choice(kinds)], depth)
        members: dict[str, Any] = {}
        self._members(info, members, depth)
        while self._defect():
            members[self._fresh_key(members)] = None
        return self._shuffled(members)

    def _members(self, info: ObjectInfo, members: dict[str, Any], depth: int) -> None:
        chance = (0.5, 0.4, 0.3, 0.1)[min(depth, 3)]
        for member in info.members:
            if member.optional and self._random.random() >= chance:
                continue
            if not self._defect():
                members[member.name] = self.value(member.type, depth + 1)
        if info.tag is not None and isinstance(members.get(info.tag), str):
            branch = info.branches.get(members[info.tag])
            if branch is not None:
                self._members(self._table.object(branch), members, depth)

    def _builtin(self, type_name: str) -> Any:
        if type_name in INT_RANGES:
            if self._random.random() < 0.7:
                return self._random.randint(0, 100)
            return self._random.choice(_EDGES)
        return {
            "str": self._random.choice(("", "a", "é", "1", "on", "\x00")),
            "bool": self._random.random() < 0.5,
            "number": self._random.choice((0, -1, 2**70, 0.5, -1e300)),
            "null": None,
            "any": self._random.choice(_WRONG),
        }[type_name]


def as_parsed(value: Any) -> Any:
    """`value` after the way through QEMU's JSON parser: integers beyond 64 bits are doubles."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, list):
        return [as_parsed(item) for item in value]
    if isinstance(value, dict):
        return {name: as_parsed(member) for name, member in value.items()}
    return value

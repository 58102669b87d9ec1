"""Objects of arguments that are wrong in every way in which a client may get them wrong.

They are made out of the type table, from a seed: the same seed gives the same objects.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from qmpd.profile import Profile
from qmpd.qapi.runtime.entry_points import CommandInfo
from tests.profile.malformed import Malformed

_SCALARS: tuple[Any, ...] = (None, True, "", "nope", "a", 0, -1, 7, 1 << 63, 1 << 64, 0.5, -1e300)
_NESTED: tuple[Any, ...] = ([], {}, [None], [[]], {"": None}, {"x": {"y": [{}]}}, ["a", 1, None])
_FREE = ("driver", "id", "bus", "drive", "type", "x")
"""Members for a command whose arguments have no type."""
_UNKNOWN = ("x", "", "node_name", "Device", "foo.bar", "é", "id ", "driver", "name")


class WrongArguments:
    """Makes objects for the commands of a profile.

    :param seed: two with the same make the same
    """

    def __init__(self, profile: Profile, seed: str) -> None:
        self._profile = profile
        self._seed = seed

    def objects(self, name: str, info: CommandInfo, count: int) -> Iterator[dict[str, Any]]:
        """Objects for one command, of which not every one is wrong."""
        random = Random(f"{self._seed}/{name}")
        well = Malformed(self._profile.types, random, 0.0)
        badly = Malformed(self._profile.types, random, 0.15)
        for number in range(count):
            made = self._made(random, info, well if number % 3 else badly)
            for _ in range(random.choice((1, 1, 1, 2, 3)) if number % 3 else 0):
                _spoil(random, made)
            yield made

    def _made(self, random: Random, info: CommandInfo, maker: Malformed) -> dict[str, Any]:
        if info.arguments is None:
            return {}
        if not info.gen:
            names = random.sample(
                ("driver", "id", "bus", "drive", "type", "x"), random.randint(0, 4)
            )
            return {name: random.choice(_SCALARS + _NESTED) for name in names}
        made = maker.value(info.arguments)
        return made if isinstance(made, dict) else {}


def _spoil(random: Random, whole: dict[str, Any]) -> None:
    """Do one wrong thing somewhere in an object."""
    objects = [whole, *_objects(whole)]
    place = random.choice(objects) if random.random() < 0.7 else whole
    random.choice(_WAYS)(random, place)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        if isinstance(part, dict):
            yield part
        yield from _objects(part)


def _drop(random: Random, place: dict[str, Any]) -> None:
    if place:
        del place[random.choice(list(place))]


def _add(random: Random, place: dict[str, Any]) -> None:
    place[random.choice(_UNKNOWN)] = copy.deepcopy(random.choice(_SCALARS + _NESTED))


def _scalar(random: Random, place: dict[str, Any]) -> None:
    if place:
        place[random.choice(list(place))] = random.choice(_SCALARS)


def _nest(random: Random, place: dict[str, Any]) -> None:
    if place:
        place[random.choice(list(place))] = copy.deepcopy(random.choice(_NESTED))


def _wrap(random: Random, place: dict[str, Any]) -> None:
    if place:
        name = random.choice(list(place))
        value = place[name]
        place[name] = random.choice(([value], {"data": value}, {name: value}))


def _misspell(random: Random, place: dict[str, Any]) -> None:
    if place:
        name = random.choice(list(place))
        wrong = random.choice((name.upper(), name + "s", name.replace("-", "_"), f" {name}"))
        place[wrong] = place.pop(name)


def _wrong_word(random: Random, place: dict[str, Any]) -> None:
    words = [name for name, value in place.items() if isinstance(value, str)]
    if words:
        name = random.choice(words)
        place[name] = random.choice((place[name] + "x", place[name].upper(), ""))


_WAYS: tuple[Callable[[Random, dict[str, Any]], None], ...] = (
    _drop,
    _add,
    _scalar,
    _nest,
    _wrap,
    _misspell,
    _wrong_word,
)

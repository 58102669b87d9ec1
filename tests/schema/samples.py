"""Requests that reach one argument of a command and no further.

For each integer among the arguments of a command, at any depth, there is a request with what is
required before it and a value to choose.  An argument that no command has ends each of them, so
that the command itself is never run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.schema.reading import BUILTINS, SIGNED, UNSIGNED, Definitions, Part, TypeName

Wrap = Callable[[Any], dict[str, Any]]
"""Makes the arguments of a command from a value inside them."""

_LEAST: dict[str, Any] = {"str": "", "bool": False, "number": 0.5, "null": None, "any": 0}
_STOP = {"no-such-argument": 0}


class Samples:
    """Finds the integers in the arguments of commands.

    :param definitions: the schema
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._done: set[str] = set()

    def integers(self) -> Iterator[tuple[str, str, str, Wrap]]:
        """Of each integer its place, its type, a command, and how to make arguments for that."""
        for command in self._definitions.of_kind("command"):
            if command.body.get("gen", True):
                for place, type_name, wrap in self._arguments(command.name):
                    yield place, type_name, command.name, wrap

    def _arguments(self, command: str) -> Iterator[tuple[str, str, Wrap]]:
        arguments = self._definitions.arguments(command)
        if isinstance(arguments, str):
            yield from self._type(command, arguments, lambda value: {**value, **_STOP})
            return
        least = self._least_of(arguments)
        for part in arguments:
            yield from self._part(command, part, _inside(least, lambda value: {**value, **_STOP}))

    def _part(self, where: str, part: Part, wrap: Wrap) -> Iterator[tuple[str, str, Wrap]]:
        assert part.type is not None
        place = f"{where}.{part.name}"
        yield from self._type(place, part.type, lambda value: wrap({part.name: value}))

    def _type(self, where: str, type_name: TypeName, wrap: Wrap) -> Iterator[tuple[str, str, Wrap]]:
        if isinstance(type_name, list):
            yield from self._type(where, type_name[0], lambda value: wrap([value]))
        elif type_name in SIGNED | UNSIGNED:
            yield where, type_name, wrap
        elif type_name not in BUILTINS and type_name not in self._done:
            self._done.add(type_name)
            yield from self._defined(type_name, wrap)

    def _defined(self, name: str, wrap: Wrap) -> Iterator[tuple[str, str, Wrap]]:
        kind = self._definitions[name].kind
        if kind == "alternate":
            for part in self._definitions.alternatives(name):
                assert part.type is not None
                yield from self._type(name, part.type, wrap)
        elif kind in ("struct", "union"):
            yield from self._object(name, wrap)

    def _object(self, name: str, wrap: Wrap) -> Iterator[tuple[str, str, Wrap]]:
        least = self._least_object(name)
        for part in self._definitions.members(name):
            yield from self._part(name, part, _inside(least, wrap))
        if self._definitions[name].kind == "union":
            for case, branch in self._definitions.branches(name).items():
                if branch is not None:
                    chosen = self._least_object(name, case)
                    yield from self._type(name, branch, _inside(chosen, wrap))

    def _least(self, type_name: TypeName) -> Any:
        """Some value of a type, as small as can be."""
        if isinstance(type_name, list):
            return []
        if type_name in BUILTINS:
            return _LEAST.get(type_name, 0)
        kind = self._definitions[type_name].kind
        if kind == "enum":
            return self._definitions.values(type_name)[0].name
        if kind != "alternate":
            return self._least_object(type_name)
        types = [part.type for part in self._definitions.alternatives(type_name)]
        return self._least(next((t for t in types if t in BUILTINS), types[0]) or [])

    def _least_of(self, parts: list[Part]) -> dict[str, Any]:
        return {p.name: self._least(p.type) for p in parts if p.type and not p.optional}

    def _least_object(self, name: str, case: str | None = None) -> dict[str, Any]:
        """Some value of an object type; of a union the branch `case`, or the first."""
        least = self._least_of(self._definitions.members(name))
        if self._definitions[name].kind == "union":
            tag = self._definitions[name].body["discriminator"]
            least[tag] = case or least[tag]
            branch = self._definitions.branches(name)[least[tag]]
            least |= {} if branch is None else self._least_object(branch)
        return least


def _inside(least: dict[str, Any], wrap: Wrap) -> Wrap:
    """`wrap` for a value that is only some of the members of an object."""
    return lambda value: wrap({**least, **value})

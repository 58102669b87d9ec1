"""The schema files as data, read without qmpd's own compiler.

What is compared with a real QEMU here is the text of the files; the compiler must not stand in
between.  So this reader knows just enough of the language for files that are in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_DIRECTORY = Path(__file__).parents[2] / "schema"

SIGNED = frozenset({"int", "int8", "int16", "int32", "int64"})
UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64", "size"})
BUILTINS = SIGNED | UNSIGNED | {"str", "bool", "number", "null", "any"}

_METATYPES = ("struct", "union", "enum", "alternate", "command", "event")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)

TypeName = str | list[str]
"""A type as written: a name, or a list of one name."""


@dataclass(frozen=True)
class Part:
    """A member of an object or a value of an enum.

    :param type: None for values
    """

    name: str
    type: TypeName | None = None
    optional: bool = False
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Definition:
    """One definition.

    :param kind: struct, union, enum, alternate, command or event
    :param body: its expression as written
    """

    kind: str
    name: str
    body: Mapping[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.body.get("features", ()))


class Definitions:
    """All definitions of a schema, with bases resolved where asked for.

    :param definitions: the definitions by name, in their order
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._by_name = dict(definitions)

    def __getitem__(self, name: str) -> Definition:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def of_kind(self, kind: str) -> list[Definition]:
        return [d for d in self._by_name.values() if d.kind == kind]

    def replaced(self, definition: Definition) -> Definitions:
        """The same with one definition exchanged."""
        return Definitions({**self._by_name, definition.name: definition})

    def values(self, enum: str) -> list[Part]:
        """The values of an enum."""
        return [_value(item) for item in self[enum].body["data"]]

    def members(self, name: str) -> list[Part]:
        """Members that an object type has in any case: those of its base come first."""
        body = self[name].body
        base = body.get("base")
        parts = self.members(base) if isinstance(base, str) else list(_members(base or {}))
        if self[name].kind != "union":
            parts += _members(body["data"])
        return parts

    def branches(self, name: str) -> dict[str, str | None]:
        """Type of each branch of a union; those without further members come last."""
        body = self[name].body
        tag = next(m for m in self.members(name) if m.name == body["discriminator"])
        assert isinstance(tag.type, str)
        branches: dict[str, str | None] = dict(body["data"])
        return branches | {v.name: None for v in self.values(tag.type) if v.name not in branches}

    def alternatives(self, name: str) -> list[Part]:
        return list(_members(self[name].body["data"]))

    def arguments(self, name: str) -> list[Part] | str:
        """What a command or event takes: members, or the name of a type."""
        data = self[name].body.get("data", {})
        return data if isinstance(data, str) else list(_members(data))


def read_definitions(main: Path = SCHEMA_DIRECTORY / "qmpd.json") -> Definitions:
    """Read a schema with all it includes."""
    found: dict[str, Definition] = {}
    for expression in _expressions(main, set()):
        kind = next(k for k in _METATYPES if k in expression)
        name = expression[kind]
        assert name not in found, f"{name} is defined twice"
        found[name] = Definition(kind, name, expression)
    return Definitions(found)


def _expressions(path: Path, done: set[Path]) -> Iterator[dict[str, Any]]:
    if path in done:
        return
    done.add(path)
    text = _COMMENT.sub("", path.read_text(encoding="utf-8")).replace("'", '"')
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text.rstrip()):
        position += len(text[position:]) - len(text[position:].lstrip())
        expression, position = decoder.raw_decode(text, position)
        if "include" in expression:
            yield from _expressions(path.parent / expression["include"], done)
        elif "pragma" not in expression:
            yield expression


def _value(item: str | dict[str, Any]) -> Part:
    if isinstance(item, str):
        return Part(item)
    return Part(item["name"], features=tuple(item.get("features", ())))


def _members(data: Mapping[str, Any]) -> Iterator[Part]:
    for key, item in data.items():
        body = item if isinstance(item, dict) else {"type": item}
        yield Part(
            key.removeprefix("*"),
            body["type"],
            optional=key.startswith("*"),
            features=tuple(body.get("features", ())),
        )

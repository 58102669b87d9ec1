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

    def names(self) -> Iterator[str]:
        """The names of all of them."""
        return iter(self._by_name)

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


def read_definitions(version: str, main: Path = SCHEMA_DIRECTORY / "qmpd.json") -> Definitions:
    """Read what a version has of a schema with all it includes."""
    major, minor = version.split(".")
    selected = _Selected((int(major), int(minor)))
    found: dict[str, Definition] = {}
    for expression in _expressions(main, set(), selected):
        kind = next(k for k in _METATYPES if k in expression)
        name = expression[kind]
        assert name not in found, f"{name} is defined twice"
        found[name] = Definition(kind, name, expression)
    return Definitions(found)


class _Selected:
    """Reads objects, without what a version does not have; for `json`, as an object hook.

    What is not there is None until the object around it is read.
    """

    def __init__(self, release: tuple[int, int]) -> None:
        self._release = release

    def __call__(self, pairs: list[tuple[str, Any]]) -> Any:
        body = {key: _without_nones(value) for key, value in pairs if value is not None}
        condition = body.get("if")
        if condition is None or not self._is_about_versions(condition):
            return body
        if not self._holds(condition):
            return None
        del body["if"]
        (essence, *more) = body
        return body[essence] if not more and essence in ("type", "name", "value") else body

    def _is_about_versions(self, condition: Any) -> bool:
        return "SINCE_" in str(condition)

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            _, major, minor = condition.split("_")
            return self._release >= (int(major), int(minor))
        if "not" in condition:
            return not self._holds(condition["not"])
        return all(map(self._holds, condition["all"]))


def _without_nones(value: Any) -> Any:
    return [item for item in value if item is not None] if isinstance(value, list) else value


def _expressions(path: Path, done: set[Path], selected: _Selected) -> Iterator[dict[str, Any]]:
    if path in done:
        return
    done.add(path)
    text = _COMMENT.sub("", path.read_text(encoding="utf-8")).replace("'", '"')
    decoder = json.JSONDecoder(object_pairs_hook=selected)
    position = 0
    while position < len(text.rstrip()):
        position += len(text[position:]) - len(text[position:].lstrip())
        expression, position = decoder.raw_decode(text, position)
        if expression is None:
            continue
        if "include" in expression:
            yield from _expressions(path.parent / expression["include"], done, selected)
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

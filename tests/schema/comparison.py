"""Our definitions beside the introspection of a real QEMU, member by member.

QEMU hides the names of its types, so types are compared by what they consist of, from the
commands and events downwards.  Each of our names must then stand for one of QEMU's types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.schema.reading import BUILTINS, SIGNED, UNSIGNED, Definitions, Part, TypeName

Info = Mapping[str, Any]
"""An element of what query-qmp-schema returns."""


class Comparison:
    """Compares definitions with an introspection.

    :param definitions: ours
    :param infos: QEMU's
    """

    def __init__(self, definitions: Definitions, infos: Sequence[Info]) -> None:
        self._ours = definitions
        self._theirs = {info["name"]: info for info in infos}
        self._names: dict[str, str] = {}
        """Our name of each of their types, by its number."""

    def differences(self) -> list[str]:
        """What differs in the commands and events both have, one line each."""
        return list(self._differences())

    def compared_types(self) -> Collection[str]:
        """Our names of the types that were reached."""
        return self._names.values()

    def _differences(self) -> Iterator[str]:
        for kind in ("command", "event"):
            for definition in self._ours.of_kind(kind):
                if definition.name in self._theirs:
                    yield from self._entry(definition.name)
        yield from self._ambiguous()

    def _entry(self, name: str) -> Iterator[str]:
        definition, info = self._ours[name], self._theirs[name]
        yield from _differ(name, "kind", definition.kind, info["meta-type"])
        yield from self._features(name, definition.features, info)
        if definition.kind == "command":
            oob = definition.body.get("allow-oob", False)
            yield from _differ(name, "allow-oob", oob, info.get("allow-oob", False))
            returns = definition.body.get("returns")
            yield from self._type_or_nothing(f"{name} returns", returns, info["ret-type"])
        arguments = self._ours.arguments(name)
        if isinstance(arguments, str):
            yield from self._type(name, arguments, info["arg-type"])
        else:
            yield from self._members(name, arguments, self._theirs[info["arg-type"]])

    def _type_or_nothing(self, where: str, ours: TypeName | None, number: str) -> Iterator[str]:
        if ours is not None:
            yield from self._type(where, ours, number)
        elif self._theirs[number].get("members") != []:
            yield f"{where}: nothing, theirs is a type"

    def _type(self, where: str, ours: TypeName, number: str) -> Iterator[str]:
        info = self._theirs[number]
        if isinstance(ours, list):
            if info["meta-type"] == "array":
                yield from self._type(where, ours[0], info["element-type"])
            else:
                yield f"{where}: a list, theirs is of kind {info['meta-type']}"
        elif ours in BUILTINS:
            name = "int" if ours in SIGNED | UNSIGNED else ours
            theirs = info["name"] if info["meta-type"] == "builtin" else info["meta-type"]
            yield from _differ(where, "type", name, theirs)
        elif number not in self._names:
            self._names[number] = ours
            yield from self._defined(where, ours, info)
        elif self._names[number] != ours:
            yield f"{where}: {ours}, elsewhere the same type is {self._names[number]}"

    def _defined(self, where: str, ours: str, info: Info) -> Iterator[str]:
        definition = self._ours[ours]
        kind = "object" if definition.kind in ("struct", "union") else definition.kind
        if kind != info["meta-type"]:
            yield f"{where}: {ours} is of kind {kind}, theirs {info['meta-type']}"
            return
        yield from self._features(ours, definition.features, info)
        if kind == "enum":
            yield from self._values(ours, info)
        elif kind == "alternate":
            yield from self._alternatives(ours, info)
        else:
            yield from self._members(ours, self._ours.members(ours), info)
            yield from self._variants(ours, info)

    def _values(self, ours: str, info: Info) -> Iterator[str]:
        values = self._ours.values(ours)
        names = [value.name for value in values]
        yield from _lists_differ(f"{ours}, values", names, info["values"])
        if "members" not in info:  # before QEMU 6.2
            return
        yield from _lists_differ(ours, names, [member["name"] for member in info["members"]])
        theirs = {member["name"]: member for member in info["members"]}
        for value in values:
            if value.name in theirs:
                yield from self._features(
                    f"{ours}.{value.name}", value.features, theirs[value.name]
                )

    def _alternatives(self, ours: str, info: Info) -> Iterator[str]:
        alternatives = self._ours.alternatives(ours)
        yield from _differ(ours, "number of types", len(alternatives), len(info["members"]))
        for alternative, member in zip(alternatives, info["members"], strict=False):
            assert alternative.type is not None
            yield from self._type(f"{ours}.{alternative.name}", alternative.type, member["type"])

    def _members(self, where: str, members: Iterable[Part], info: Info) -> Iterator[str]:
        theirs = {member["name"]: member for member in info["members"]}
        yield from _lists_differ(where, [member.name for member in members], list(theirs))
        for member in members:
            other = theirs.get(member.name)
            if other is None:
                continue
            inner = f"{where}.{member.name}"
            yield from _differ(inner, "optional", member.optional, "default" in other)
            yield from self._features(inner, member.features, other)
            assert member.type is not None
            yield from self._type(inner, member.type, other["type"])

    def _variants(self, ours: str, info: Info) -> Iterator[str]:
        body = self._ours[ours].body
        yield from _differ(ours, "tag", body.get("discriminator"), info.get("tag"))
        if "discriminator" not in body or "tag" not in info:
            return
        branches = self._ours.branches(ours)
        theirs = {variant["case"]: variant["type"] for variant in info["variants"]}
        yield from _lists_differ(f"{ours}, branches", list(branches), list(theirs))
        for case, branch in branches.items():
            if case in theirs:
                yield from self._type_or_nothing(f"{ours}[{case}]", branch, theirs[case])

    @staticmethod
    def _features(where: str, ours: tuple[str, ...], info: Info) -> Iterator[str]:
        yield from _differ(where, "features", list(ours), info.get("features", []))

    def _ambiguous(self) -> Iterator[str]:
        numbers: dict[str, str] = {}
        for number, name in self._names.items():
            if numbers.setdefault(name, number) != number:
                yield f"{name}: stands for two different types of theirs"


def _differ(where: str, what: str, ours: object, theirs: object) -> Iterator[str]:
    if ours != theirs:
        yield f"{where}: {what} {ours!r}, theirs {theirs!r}"


def _lists_differ(where: str, ours: list[str], theirs: list[str]) -> Iterator[str]:
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    if missing:
        yield f"{where}: lacks {', '.join(missing)}"
    if extra:
        yield f"{where}: only ours has {', '.join(extra)}"
    if not missing and not extra and ours != theirs:
        yield f"{where}: order {ours}, theirs {theirs}"

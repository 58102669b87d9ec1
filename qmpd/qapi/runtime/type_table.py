"""The type table: all types of a schema as plain data.

`qmpd.qapi.outputs.generate` writes it once, as JSON; at run time it is read when the first
argument, reply or schema query needs it.  Types are referred to by name, arrays as
``[ELEMENT]``.  Members are written as in QAPI: an optional one has a ``*``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

BUILTINS: Mapping[str, str] = {
    "str": "string",
    "int": "int",
    "number": "number",
    "bool": "boolean",
    "null": "null",
    "any": "value",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "int",
    "uint8": "int",
    "uint16": "int",
    "uint32": "int",
    "uint64": "int",
    "size": "int",
}
"""The built-in types with the JSON type that introspection gives them."""

INT_RANGES: Mapping[str, tuple[int, int]] = {
    "int": (-(2**63), 2**63 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "size": (0, 2**64 - 1),
}
"""Least and greatest value of each integer type."""

NOT_A_VALUE: Final = "Parameter '{name}' does not accept value '{value}'"
"""What QEMU says today of a text that is no value of an enum."""

Features = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member of an object type; `type` is a reference."""

    name: str
    type: str
    optional: bool
    features: Features = ()


@dataclass(frozen=True, slots=True)
class EnumInfo:
    """An enum: its values in order, each with its features."""

    name: str
    module: str
    values: Mapping[str, Features]
    features: Features = ()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A struct, or a union when `tag` is set.

    :param members: all common members in the order of the visit, those of the base first
    :param local: the members that the base does not have
    :param tag: name of the discriminator
    :param branches: value of the discriminator -> object type with the further members;
        a value that adds none is absent
    :param absent: attributes that its model has in other versions of the schema
    """

    name: str
    module: str
    base: str | None
    local: tuple[MemberInfo, ...]
    members: tuple[MemberInfo, ...]
    tag: str | None
    branches: Mapping[str, str]
    features: Features = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlternateInfo:
    """An alternate: JSON kind of the value (see `json_kind`) -> type reference."""

    name: str
    module: str
    by_kind: Mapping[str, str]
    features: Features = ()


TypeInfo = EnumInfo | ObjectInfo | AlternateInfo

_KINDS: Mapping[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}


def json_kind(value: object) -> str:
    """The JSON type of a value: string, number, boolean, object, array or null."""
    return _KINDS[type(value)]


def array_element(type_name: str) -> str | None:
    """The element type of an array reference ``[X]``; None for other types."""
    return type_name[1:-1] if type_name.startswith("[") else None


class TypeTable:
    """All types of one schema.

    :param types: as `qmpd.qapi.outputs.table` writes them: the definition of each, by name
    :param not_a_value: what is said of a text that is no value of an enum: ``{name}`` stands for
        the member, ``{value}`` for the text
    """

    def __init__(
        self, types: Mapping[str, Mapping[str, Any]], not_a_value: str = NOT_A_VALUE
    ) -> None:
        self._types = types
        self.not_a_value = not_a_value
        self._infos: dict[str, TypeInfo] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def names(self) -> Iterator[str]:
        """The names of all types, in definition order."""
        return iter(self._types)

    def __getitem__(self, name: str) -> TypeInfo:
        """The defined type called `name`; KeyError when there is none (or it is built in)."""
        info = self._infos.get(name)
        if info is None:
            info = self._infos[name] = self._info(name, self._types[name])
        return info

    def get(self, name: str) -> TypeInfo | None:
        """The defined type called `name`; None when there is none (or it is built in)."""
        return self[name] if name in self._types else None

    def object(self, name: str) -> ObjectInfo:
        """The object type called `name`; KeyError when there is none."""
        info = self[name]
        if not isinstance(info, ObjectInfo):
            raise KeyError(name)
        return info

    def reference(self, type_name: str) -> str:
        """A type reference for a QAPI type name: ``strList`` becomes ``[str]``."""
        if type_name in self._types or type_name in BUILTINS or type_name.startswith("["):
            return type_name
        if not type_name.endswith("List"):
            raise KeyError(type_name)
        return f"[{self.reference(type_name.removesuffix('List'))}]"

    def _info(self, name: str, data: Mapping[str, Any]) -> TypeInfo:
        features: Mapping[str, list[str]] = data.get("features", {})
        own = tuple(features.get("", ()))
        module = data["module"]
        if "enum" in data:
            values = {value: tuple(features.get(value, ())) for value in data["enum"]}
            return EnumInfo(name, module, values, own)
        if "alternate" in data:
            by_kind = {self._kind(reference): reference for reference in data["alternate"]}
            return AlternateInfo(name, module, by_kind, own)
        local = tuple(
            MemberInfo(
                bare := member.removeprefix("*"),
                reference,
                member != bare,
                tuple(features.get(bare, ())),
            )
            for member, reference in data["object"].items()
        )
        base = data.get("base")
        inherited = self.object(base).members if base else ()
        tag, branches = data.get("tag"), data.get("branches", {})
        absent = tuple(data.get("absent", ()))
        members = inherited + local
        return ObjectInfo(name, module, base, local, members, tag, branches, own, absent)

    def _kind(self, reference: str) -> str:
        """The JSON kind that selects `reference` in an alternate."""
        if reference.startswith("["):
            return "array"
        json_type = BUILTINS.get(reference)
        if json_type is not None:
            return "number" if json_type == "int" else json_type
        return "string" if isinstance(self[reference], EnumInfo) else "object"

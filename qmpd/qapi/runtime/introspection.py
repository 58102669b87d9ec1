"""The value of query-qmp-schema.

As QEMU makes it: commands and events first, in schema order, then the types they
reach, in the order in which they are first referred to.  Names of defined types are
masked as decimal numbers, counted from 0 in the order of first use; all integer types
are ``int``; an array is named after its element, ``[N]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from qmpd.qapi.runtime.entry_points import CommandInfo, EventInfo
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import (
    BUILTINS,
    AlternateInfo,
    EnumInfo,
    Features,
    MemberInfo,
    ObjectInfo,
    TypeTable,
    array_element,
)

_EMPTY = "q_empty"
"""The type of no arguments and no return value."""


def schema_infos(
    table: TypeTable,
    entry_points: Iterable[CommandInfo | EventInfo],
    policy: CompatPolicy | None = None,
) -> list[dict[str, Any]]:
    """The query-qmp-schema value for what is served.

    :param table: the types
    :param entry_points: the commands and events served, in schema order
    :param policy: with ``deprecated_output="hide"``, deprecated commands, events, types and
        object members are left out (as in QEMU, unstable ones never are)
    :return: list of SchemaInfo, members of each sorted by name
    """
    infos = list(_Introspection(table).infos(entry_points))
    if policy is not None and policy.deprecated_output == "hide":
        infos = list(_without_deprecated(infos))
    return infos


class _Introspection:
    """Writes the infos of one table, noting which types are used."""

    def __init__(self, table: TypeTable) -> None:
        self._table = table
        self._masks: dict[str, str] = {}
        self._used: dict[str, None] = {}

    def infos(self, entry_points: Iterable[CommandInfo | EventInfo]) -> Iterator[dict[str, Any]]:
        for entry_point in entry_points:
            yield self._entry_point(entry_point)
        done = 0
        while done < len(self._used):
            for type_name in list(self._used)[done:]:
                yield self._type(type_name)
                done += 1

    def _use(self, type_name: str) -> str:
        """Note that `type_name` is used; the name under which it is listed."""
        element = array_element(type_name)
        if element is not None:
            if BUILTINS.get(element) == "int":
                type_name = "[int]"
            self._used.setdefault(type_name)
            return f"[{self._use(type_name[1:-1])}]"
        if BUILTINS.get(type_name) == "int":
            type_name = "int"
        self._used.setdefault(type_name)
        return type_name if type_name in BUILTINS else self._mask(type_name)

    def _mask(self, type_name: str) -> str:
        return self._masks.setdefault(type_name, str(len(self._masks)))

    def _entry_point(self, entry_point: CommandInfo | EventInfo) -> dict[str, Any]:
        info: dict[str, Any] = {"arg-type": self._use(entry_point.arguments or _EMPTY)}
        if isinstance(entry_point, EventInfo):
            return _finished(info, entry_point.name, "event", entry_point.features)
        if entry_point.allow_oob:
            info["allow-oob"] = True
        info["ret-type"] = self._use(entry_point.returns or _EMPTY)
        return _finished(info, entry_point.name, "command", entry_point.features)

    def _type(self, type_name: str) -> dict[str, Any]:
        if type_name in BUILTINS:
            return _finished({"json-type": BUILTINS[type_name]}, type_name, "builtin")
        element = array_element(type_name)
        if element is not None:
            used = self._use(element)
            return _finished({"element-type": used}, f"[{used}]", "array")
        if type_name == _EMPTY:
            return _finished({"members": []}, self._mask(type_name), "object")
        info = self._table[type_name]
        if isinstance(info, ObjectInfo):
            return self._object(info)
        if isinstance(info, AlternateInfo):
            members = [{"type": self._use(reference)} for reference in info.by_kind.values()]
            return _finished(
                {"members": members}, self._mask(type_name), "alternate", info.features
            )
        enum: dict[str, Any] = {"values": list(info.values)}
        if self._enums_have_members:
            enum["members"] = [_member(value, each) for value, each in info.values.items()]
        return _finished(enum, self._mask(type_name), "enum", info.features)

    @cached_property
    def _enums_have_members(self) -> bool:
        """Whether the schema's own type for the info of an enum has them (since QEMU 6.2)."""
        own = self._table.get("SchemaInfoEnum")
        return not isinstance(own, ObjectInfo) or any(m.name == "members" for m in own.members)

    def _object(self, info: ObjectInfo) -> dict[str, Any]:
        result: dict[str, Any] = {"members": [self._object_member(m) for m in info.members]}
        if info.tag is not None:
            tag = next(member for member in info.members if member.name == info.tag)
            enum = self._table[tag.type]
            assert isinstance(enum, EnumInfo)
            result["tag"] = info.tag
            branches = dict.fromkeys(info.branches) | dict.fromkeys(enum.values)
            result["variants"] = [
                {"case": case, "type": self._use(info.branches.get(case, _EMPTY))}
                for case in branches
            ]
        return _finished(result, self._mask(info.name), "object", info.features)

    def _object_member(self, member: MemberInfo) -> dict[str, Any]:
        result = _member(member.name, member.features)
        result["type"] = self._use(member.type)
        if member.optional:
            result["default"] = None
        return dict(sorted(result.items()))


def _member(name: str, features: Features) -> dict[str, Any]:
    return {"features": list(features), "name": name} if features else {"name": name}


def _finished(
    info: dict[str, Any], name: str, meta_type: str, features: Features = ()
) -> dict[str, Any]:
    info |= {"name": name, "meta-type": meta_type}
    if features:
        info["features"] = list(features)
    return dict(sorted(info.items()))


def _without_deprecated(infos: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out what is deprecated, the member ``values`` of SchemaInfoEnum among it."""
    for info in infos:
        if "deprecated" in info.get("features", ()):
            continue
        if info["meta-type"] == "object":
            members = [m for m in info["members"] if "deprecated" not in m.get("features", ())]
            info = {**info, "members": members}
        elif info["meta-type"] == "enum":
            info = {key: value for key, value in info.items() if key != "values"}
        yield info

"""The value of query-qmp-schema, and how to compare two of them.

As QEMU makes it: commands and events first, in schema order, then the types they
reach, in the order in which they are first referred to.  Names of defined types are
masked as decimal numbers, counted from 0 in the order of first use; all integer types
are ``int``; an array is named after its element, ``[N]``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import (
    BUILTINS,
    AlternateInfo,
    EntryPoint,
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
    schema: Schema | TypeTable | None,
    command_names: Iterable[str],
    event_names: Iterable[str],
    policy: CompatPolicy | None = None,
) -> list[dict[str, Any]]:
    """The query-qmp-schema value for what is served.

    :param schema: a compiled schema or a type table; None: that of `qmpd.profile.models`
    :param command_names: the commands served; their order is the schema's, not this one
    :param event_names: the events served
    :param policy: with ``deprecated_output="hide"``, deprecated commands, events, types and
        object members are left out (as in QEMU, unstable ones never are)
    :return: list of SchemaInfo, members of each sorted by name
    """
    maker = _Introspection(_table(schema))
    infos = list(maker.infos({*command_names}, {*event_names}))
    if policy is not None and policy.deprecated_output == "hide":
        infos = list(_without_deprecated(infos))
    return infos


def _table(schema: Schema | TypeTable | None) -> TypeTable:
    if isinstance(schema, TypeTable):
        return schema
    if schema is None:
        from qmpd.profile.models import type_table

        return type_table()
    import json

    from qmpd.qapi.outputs.table import table_text

    return TypeTable(json.loads(table_text(schema)))


class _Introspection:
    """Writes the infos of one table, noting which types are used."""

    def __init__(self, table: TypeTable) -> None:
        self._table = table
        self._masks: dict[str, str] = {}
        self._used: dict[str, None] = {}

    def infos(
        self, command_names: Collection[str], event_names: Collection[str]
    ) -> Iterator[dict[str, Any]]:
        served = {"command": command_names, "event": event_names}
        for entry_point in self._table.entry_points():
            if entry_point.name in served[entry_point.kind]:
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

    def _entry_point(self, entry_point: EntryPoint) -> dict[str, Any]:
        info: dict[str, Any] = {}
        if entry_point.allow_oob:
            info["allow-oob"] = True
        info["arg-type"] = self._use(entry_point.arguments or _EMPTY)
        if entry_point.kind == "command":
            info["ret-type"] = self._use(entry_point.returns or _EMPTY)
        return _finished(info, entry_point.name, entry_point.kind, entry_point.features)

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
        values = [_member(value, features) for value, features in info.values.items()]
        return _finished(
            {"members": values, "values": list(info.values)},
            self._mask(type_name),
            "enum",
            info.features,
        )

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


SchemaInfos = Sequence[Mapping[str, Any]]


def unmasked(infos: SchemaInfos, name: str, depth: int = 64) -> Any:
    """The type called `name` in `infos` with every type it refers to put in its place.

    A type within itself is replaced by the path of the reference, so that values of
    different servers compare equal when, and only when, they mean the same.

    :param depth: levels to expand
    """
    by_name = {info["name"]: info for info in infos if info["meta-type"] not in _TOP}
    return _expanded(by_name, name, (), depth)


_TOP = ("command", "event")


def _expanded(
    by_name: Mapping[str, Mapping[str, Any]], name: str, above: tuple[str, ...], depth: int
) -> Any:
    if name in above:
        return f"up {len(above) - above.index(name)}"
    if depth == 0:
        return "..."
    info = by_name[name]

    def expand(type_name: str) -> Any:
        return _expanded(by_name, type_name, (*above, name), depth - 1)

    result = {key: value for key, value in info.items() if key != "name"}
    if "element-type" in result:
        result["element-type"] = expand(result["element-type"])
    if "members" in result and info["meta-type"] != "enum":
        result["members"] = [{**m, "type": expand(m["type"])} for m in result["members"]]
    if "variants" in result:
        result["variants"] = [{**v, "type": expand(v["type"])} for v in result["variants"]]
    if info["meta-type"] == "builtin":
        result["name"] = name
    return result


def differences(ours: SchemaInfos, theirs: SchemaInfos, *, only_ours: bool = True) -> list[str]:
    """What differs between two query-qmp-schema values, one line each.

    Commands and events are compared by name, types member by member, whatever the masks
    and whatever the order of members; only what both know, unless `only_ours` is False.
    """
    comparison = _Comparison(ours, theirs)
    return list(comparison.lines(only_ours))


class _Comparison:
    def __init__(self, ours: SchemaInfos, theirs: SchemaInfos) -> None:
        self._ours = {(i["meta-type"] in _TOP, i["name"]): i for i in ours}
        self._theirs = {(i["meta-type"] in _TOP, i["name"]): i for i in theirs}
        self._seen: set[tuple[str, str]] = set()

    def lines(self, only_ours: bool) -> Iterator[str]:
        tops = [name for top, name in self._ours if top]
        for name in tops:
            theirs = self._theirs.get((True, name))
            if theirs is None:
                yield f"{name}: only ours"
                continue
            ours = self._ours[True, name]
            yield from self._facts(name, ours, theirs, ("meta-type", "allow-oob", "features"))
            for key in ("arg-type", "ret-type"):
                if key in ours and key in theirs:
                    yield from self._types(f"{name}:{key[:3]}", ours[key], theirs[key])
        if not only_ours:
            missing = [n for top, n in self._theirs if top and n not in tops]
            yield from (f"{name}: only theirs" for name in missing)

    @staticmethod
    def _facts(
        where: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], keys: Iterable[str]
    ) -> Iterator[str]:
        for key in keys:
            if ours.get(key, "absent") != theirs.get(key, "absent"):
                yield f"{where}: {key} {ours.get(key)!r}, theirs {theirs.get(key)!r}"

    def _types(self, where: str, our_name: str, their_name: str) -> Iterator[str]:
        """Compare two types; each pair only once."""
        if (our_name, their_name) in self._seen:
            return
        self._seen.add((our_name, their_name))
        ours, theirs = self._ours[False, our_name], self._theirs[False, their_name]
        if ours["meta-type"] != theirs["meta-type"]:
            yield f"{where}: {ours['meta-type']}, theirs {theirs['meta-type']}"
            return
        yield from self._facts(where, ours, theirs, ("features", "tag", "json-type", "values"))
        if "element-type" in ours:
            yield from self._types(f"{where}[]", ours["element-type"], theirs["element-type"])
        if ours["meta-type"] == "alternate":
            yield from self._alternatives(where, ours, theirs)
            return
        yield from self._parts(where, ours, theirs, "members", "name")
        yield from self._parts(where, ours, theirs, "variants", "case")

    def _alternatives(
        self, where: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]
    ) -> Iterator[str]:
        if len(ours["members"]) != len(theirs["members"]):
            yield f"{where}: {len(ours['members'])} types, theirs {len(theirs['members'])}"
            return
        for our, their in zip(ours["members"], theirs["members"], strict=True):
            yield from self._types(where, our["type"], their["type"])

    def _parts(
        self,
        where: str,
        ours: Mapping[str, Any],
        theirs: Mapping[str, Any],
        list_key: str,
        name_key: str,
    ) -> Iterator[str]:
        our_parts = {part[name_key]: part for part in ours.get(list_key, ())}
        their_parts = {part[name_key]: part for part in theirs.get(list_key, ())}
        for name in our_parts | their_parts:
            inner = f"{where}.{name}"
            if name not in their_parts or name not in our_parts:
                yield f"{inner}: only {'ours' if name in our_parts else 'theirs'}"
                continue
            our, their = our_parts[name], their_parts[name]
            yield from self._facts(inner, our, their, ("default", "features"))
            if "type" in our:
                yield from self._types(inner, our["type"], their["type"])

"""What query-qmp-schema says, and how two of its values differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from qmpd.errors import GenericError
from qmpd.profile import Profile
from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.outputs.table import entry_points_text, types_text
from qmpd.qapi.runtime.entry_points import EntryPoints
from qmpd.qapi.runtime.introspection import schema_infos
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import TypeTable
from qmpd.qapi.runtime.visitor import InputVisitor


def infos_of(
    schema: Schema, names: Collection[str], policy: CompatPolicy | None = None
) -> list[dict[str, Any]]:
    """The query-qmp-schema value for the commands and events `names` of a schema."""
    types = TypeTable(json.loads(types_text(schema)))
    entry_points = EntryPoints(json.loads(entry_points_text(schema)))
    return schema_infos(types, (entry for entry in entry_points if entry.name in names), policy)


def check_value(profile: Profile, type_name: str, value: object) -> None:
    """Check that `value`, such as a reply, is of a QAPI type.

    :param type_name: the type's name, or a reference to it (``[BlockInfo]``)
    :raises ValueError: it is not, or a number is not in the form in which QEMU prints it
    """
    table = profile.types
    try:
        read = InputVisitor(table).read(table.reference(type_name), value)
    except GenericError as error:
        raise ValueError(f"{type_name}: {error.desc}") from None
    if read != value:
        raise ValueError(f"{type_name}: {value!r} would be {read!r}")


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

"""The type table of a schema, and its commands and events, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from qmpd.qapi.compiler.entities import (
    AlternateType,
    ArrayType,
    BuiltinType,
    Command,
    Entity,
    EnumType,
    Event,
    Feature,
    Member,
    ObjectType,
    Schema,
    Type,
)
from qmpd.qapi.outputs.merge import absent_members
from qmpd.qapi.runtime.words import attribute_name, camel_case, class_name


def is_nothing(type_: Type | None) -> bool:
    """Whether `type_` is the compiler's own empty object: no arguments, no further members."""
    return type_ is None or (isinstance(type_, ObjectType) and type_.implicit and type_.is_empty)


def is_union_base(type_: ObjectType) -> bool:
    """Whether `type_` is the anonymous base of a union, whose members the union gets itself."""
    return type_.implicit and type_.name.endswith("-base")


class Names:
    """The names of a schema's types in the table: those of the generated classes.

    Defined types keep theirs; the arguments of a command ``block-stream`` are
    ``BlockStreamArguments``, the data of an event ``STOP`` ``StopData``, and the wrapper
    of an old union's branch ``FooWrapper``.
    """

    def __init__(self, schema: Schema) -> None:
        self._names: dict[str, str] = {}
        self._owners: dict[str, Command | Event] = {}
        defined = [t for t in schema.types() if not (isinstance(t, ObjectType) and t.implicit)]
        taken = {class_name(type_.name) for type_ in defined}
        for entity in schema.entities.values():
            if isinstance(entity, Command | Event):
                wanted = _arguments_name(entity)
                self._name(entity.arguments, wanted, taken)
                if entity.arguments is not None and entity.arguments.implicit:
                    self._owners[entity.arguments.name] = entity
        for entity in schema.types():
            match = re.fullmatch(r"q_obj_(.+?)(-wrapper|-arg)?", entity.name)
            if match:
                # of several versions, one may have arguments of its own where others share a type
                owner = schema.entities.get(match[1]) if match[2] == "-arg" else None
                if isinstance(owner, Command | Event):
                    self._name(entity, _arguments_name(owner), taken)
                wrapper = "Wrapper" if match[2] == "-wrapper" else ""
                self._name(entity, camel_case(match[1]) + wrapper, taken)

    def _name(self, type_: Type | None, wanted: str, taken: set[str]) -> None:
        if not isinstance(type_, ObjectType) or not type_.implicit or type_.name in self._names:
            return
        while wanted in taken:
            wanted += "_"
        taken.add(wanted)
        self._names[type_.name] = wanted

    def owner(self, type_: Type) -> Command | Event | None:
        """The command or event whose arguments the anonymous `type_` is; None for others."""
        return self._owners.get(type_.name)

    def reference(self, type_: Type) -> str:
        """The reference to `type_`: its name, ``[X]`` for an array of X."""
        if isinstance(type_, ArrayType):
            return f"[{self.reference(type_.element)}]"
        if isinstance(type_, BuiltinType):
            return type_.name
        return self._names.get(type_.name) or class_name(type_.name)


def _arguments_name(entity: Command | Event) -> str:
    """The name that the anonymous type of its arguments gets."""
    return camel_case(entity.name) + ("Arguments" if isinstance(entity, Command) else "Data")


def listed_types(schema: Schema) -> Iterator[EnumType | ObjectType | AlternateType]:
    """The types that the table and the models have, in definition order."""
    for type_ in schema.types():
        if isinstance(type_, ObjectType):
            if not is_nothing(type_) and not is_union_base(type_):
                yield type_
        elif isinstance(type_, EnumType | AlternateType) and type_.module is not None:
            yield type_


def own_members(type_: ObjectType) -> Iterator[Member]:
    """The members that a class for `type_` has itself: all but those of a named base."""
    if type_.base is not None and is_union_base(type_.base):
        yield from own_members(type_.base)
    yield from type_.local_members


def named_base(type_: ObjectType) -> ObjectType | None:
    """The base that has a class of its own; None where there is none."""
    base = type_.base
    while base is not None and is_union_base(base):
        base = base.base
    return None if is_nothing(base) else base


def _names_of(features: Iterable[Feature]) -> list[str]:
    return [feature.name for feature in features]


def _features(entity: Entity, parts: Sequence[Any]) -> Mapping[str, Any]:
    """``features`` of the entity (under "") and of its members or values; empty without any."""
    found = {"": _names_of(entity.features)}
    found.update((part.name, _names_of(part.features)) for part in parts)
    present = {name: names for name, names in found.items() if names}
    return {"features": present} if present else {}


def _type_entry(
    type_: EnumType | ObjectType | AlternateType, names: Names, absent: Sequence[str]
) -> dict[str, Any]:
    entry: dict[str, Any] = {"module": type_.module}
    if isinstance(type_, EnumType):
        entry["enum"] = [value.name for value in type_.members]
        return {**entry, **_features(type_, type_.members)}
    if isinstance(type_, AlternateType):
        entry["alternate"] = [names.reference(a.type) for a in type_.alternatives]
        return {**entry, **_features(type_, ())}
    members = list(own_members(type_))
    base = named_base(type_)
    if base is not None:
        entry["base"] = names.reference(base)
    entry["object"] = {
        ("*" if member.optional else "") + member.name: names.reference(member.type)
        for member in members
    }
    if type_.discriminator is not None:
        entry["tag"] = type_.discriminator.name
        entry["branches"] = {
            branch.name: names.reference(branch.type)
            for branch in type_.branches
            if not is_nothing(branch.type)
        }
    if absent:
        entry["absent"] = [attribute_name(name) for name in absent]
    return {**entry, **_features(type_, members)}


def _entry_point(
    entity: Command | Event, names: Names, absent: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What `qmpd.qapi.runtime.entry_points` has to know of a command or an event."""
    is_command = isinstance(entity, Command)
    entry: dict[str, Any] = {"kind": "command" if is_command else "event", "module": entity.module}
    if entity.arguments is not None and not is_nothing(entity.arguments):
        entry["arguments"] = names.reference(entity.arguments)
    if isinstance(entity, Command):
        entry |= _command(entity, names, absent)
    if entity.features:
        entry["features"] = _names_of(entity.features)
    return entry


def _command(command: Command, names: Names, absent: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    arguments = command.arguments
    if arguments is not None and not is_nothing(arguments) and not arguments.branches:
        members = list(arguments.members())
        if all(member.optional for member in members):
            others = absent.get(arguments.name, ())
            all_names = [*(member.name for member in members), *others]
            entry["optional"] = [attribute_name(name) for name in all_names]
    if command.returns is not None and not is_nothing(command.returns):
        entry["returns"] = names.reference(command.returns)
    if not command.gen:
        entry["gen"] = False
    if not command.success_response:
        entry["success-response"] = False
    if command.allow_oob:
        entry["allow-oob"] = True
    if command.allow_preconfig:
        entry["allow-preconfig"] = True
    return entry


def _lines(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """`entries` as a JSON object, each on a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def types_text(schema: Schema, others: Iterable[Schema] = ()) -> str:
    """The types of `schema`, for a `qmpd.qapi.runtime.type_table.TypeTable`.

    :param others: other versions of it; members that only they have are named as absent
    """
    names, absent = Names(schema), absent_members(schema, others)
    return _lines(
        {
            names.reference(type_): _type_entry(type_, names, absent.get(type_.name, ()))
            for type_ in listed_types(schema)
        }
    )


def entry_points_text(schema: Schema, others: Iterable[Schema] = ()) -> str:
    """Its commands and events, for `qmpd.qapi.runtime.entry_points.EntryPoints`.

    They come module by module, as QEMU's generators visit them (`QAPISchema.visit`).

    :param others: other versions of it
    """
    names, absent = Names(schema), absent_members(schema, others)
    order = {module: number for number, module in enumerate(schema.modules)}
    found = [e for e in schema.entities.values() if isinstance(e, Command | Event)]
    found.sort(key=lambda entity: order[entity.module or ""])
    return _lines({entity.name: _entry_point(entity, names, absent) for entity in found})

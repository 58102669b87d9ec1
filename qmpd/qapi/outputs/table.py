"""The type table and the command registry of a schema, as text."""

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
from qmpd.qapi.runtime.words import attribute_name, camel_case, class_name, module_name


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
                suffix = "Arguments" if isinstance(entity, Command) else "Data"
                self._name(entity.arguments, camel_case(entity.name) + suffix, taken)
                if entity.arguments is not None and entity.arguments.implicit:
                    self._owners[entity.arguments.name] = entity
        for entity in schema.types():
            match = re.fullmatch(r"q_obj_(.+?)(-wrapper)?", entity.name)
            if match:
                self._name(entity, camel_case(match[1]) + ("Wrapper" if match[2] else ""), taken)

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


def _type_entry(type_: EnumType | ObjectType | AlternateType, names: Names) -> dict[str, Any]:
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
    return {**entry, **_features(type_, members)}


def _entry_point(entity: Command | Event, names: Names) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": "command" if isinstance(entity, Command) else "event"}
    if entity.arguments is not None and not is_nothing(entity.arguments):
        entry["arguments"] = names.reference(entity.arguments)
    if isinstance(entity, Command):
        if entity.returns is not None and not is_nothing(entity.returns):
            entry["returns"] = names.reference(entity.returns)
        if entity.allow_oob:
            entry["allow-oob"] = True
    if entity.features:
        entry["features"] = _names_of(entity.features)
    return entry


def table_text(schema: Schema) -> str:
    """The type table of `schema` as JSON, one type or entry point on a line."""
    names = Names(schema)
    types = {names.reference(t): _type_entry(t, names) for t in listed_types(schema)}
    entry_points = {
        entity.name: _entry_point(entity, names)
        for entity in schema.entities.values()
        if isinstance(entity, Command | Event)
    }
    return (
        '{\n"types": {\n'
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in types.items())
        + '\n},\n"entry-points": {\n'
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(e)}" for name, e in entry_points.items())
        + "\n}\n}\n"
    )


def _model_reference(type_: ObjectType, names: Names, module: str) -> str:
    return f"{module_name(type_.module or module)}:{names.reference(type_)}"


def _command_line(command: Command, names: Names) -> str:
    module = command.module or ""
    parts = [f'"{command.name}"', f'"{module}"']
    if command.arguments is not None and not is_nothing(command.arguments):
        parts.append(f'arguments="{_model_reference(command.arguments, names, module)}"')
        members = list(command.arguments.members())
        if not command.arguments.branches and all(member.optional for member in members):
            optional = [attribute_name(member.name) for member in members]
            parts.append(f"optional={_tuple(optional)}")
    if command.returns is not None and not is_nothing(command.returns):
        parts.append(f'returns="{command.returns.name}"')
    if command.features:
        parts.append(f"features={_tuple(_names_of(command.features))}")
    if not command.gen:
        parts.append("gen=False")
    if not command.success_response:
        parts.append("success_response=False")
    if command.allow_oob:
        parts.append("allow_oob=True")
    if command.allow_preconfig:
        parts.append("allow_preconfig=True")
    return _call("CommandInfo", parts)


def _event_line(event: Event, names: Names) -> str:
    parts = [f'"{event.name}"', f'"{event.module or ""}"']
    if event.arguments is not None and not is_nothing(event.arguments):
        parts.append(f'arguments="{names.reference(event.arguments)}"')
    if event.features:
        parts.append(f"features={_tuple(_names_of(event.features))}")
    return _call("EventInfo", parts)


def _call(name: str, arguments: Sequence[str]) -> str:
    """An element of the registry's tuples, on one line where it fits."""
    indent = "        "
    line = f"{indent}{name}({', '.join(arguments)}),\n"
    if len(line) <= 101:
        return line
    inner = "".join(f"{indent}    {argument},\n" for argument in arguments)
    return f"{indent}{name}(\n{inner}{indent}),\n"


def _tuple(words: Sequence[str]) -> str:
    inner = ", ".join(f'"{word}"' for word in words)
    return f"({inner},)" if len(words) == 1 else f"({inner})"


def command_table_text(schema: Schema) -> str:
    """The module ``command_table`` with all commands and events of `schema`."""
    names = Names(schema)
    commands = "".join(_command_line(command, names) for command in schema.commands())
    events = "".join(_event_line(event, names) for event in schema.events())
    return f'''"""All commands and events of the schema.  Generated by `qmpd schema generate`."""

from collections.abc import Mapping

from qmpd.qapi.runtime.metadata import CommandInfo, EventInfo

COMMANDS: Mapping[str, CommandInfo] = {{
    info.name: info
    for info in (
{commands}    )
}}

EVENTS: Mapping[str, EventInfo] = {{
    info.name: info
    for info in (
{events}    )
}}
'''

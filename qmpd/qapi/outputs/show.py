"""An entity of the schema in words, for people."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from qmpd.qapi.compiler.entities import (
    AlternateType,
    ArrayType,
    BuiltinType,
    Command,
    Condition,
    Doc,
    Entity,
    EnumType,
    Event,
    Feature,
    Member,
    ObjectType,
    Type,
)

WIDTH = 79
_STARTS_ANEW = re.compile(r"[-*|+] |\d+\. |\.\. |::|<- |-> ")


def show(entity: Entity) -> str:
    """Describe `entity`: kind, origin, doc, members with types and docs, features.

    :returns: lines of at most `WIDTH` columns, where names and literal text allow it
    """
    lines = [_title(entity), *_origin(entity)]
    if entity.doc is not None and entity.doc.body:
        lines += ["", *_prose(entity.doc.body, "")]
    match entity:
        case Command():
            lines += _show_arguments(entity)
            lines += _show_returns(entity)
        case Event():
            lines += _show_arguments(entity)
        case EnumType():
            lines += ["", "Values:", *_values(entity)]
        case AlternateType():
            lines += ["", "One of:", *_alternatives(entity)]
        case ObjectType():
            lines += _show_object(entity, entity.doc, "Members")
        case ArrayType():
            lines += ["", f"A list of {type_name(entity.element)}."]
        case BuiltinType():
            any_value = entity.json_type == "value"
            lines += ["", "Any JSON value." if any_value else f"A JSON {entity.json_type}."]
    lines += _show_features(entity)
    lines += _show_sections(entity.doc)
    return "\n".join(lines) + "\n"


def type_name(type_: Type) -> str:
    """`type_` as one says it: ``list of str``."""
    return f"list of {type_name(type_.element)}" if isinstance(type_, ArrayType) else type_.name


def _title(entity: Entity) -> str:
    match entity:
        case Command():
            kind = "command"
        case Event():
            kind = "event"
        case EnumType():
            kind = "enum"
        case AlternateType():
            kind = "alternate"
        case ObjectType():
            kind = "union" if entity.discriminator else "struct"
        case ArrayType():
            kind = "array"
        case _:
            kind = "built-in type"
    return f"{kind} {entity.name}"


def _origin(entity: Entity) -> Iterator[str]:
    facts = []
    if entity.doc is not None and entity.doc.since:
        facts.append(f"since {entity.doc.since}")
    if entity.location is not None:
        facts.append(f"defined in {entity.location}")
    if entity.condition is not None:
        facts.append(f"if {_condition(entity.condition)}")
    if isinstance(entity, Command):
        facts += _flags(entity)
    if facts:
        yield from _fill("; ".join(facts), "    ")


def _flags(command: Command) -> Iterator[str]:
    if not command.gen:
        yield "arguments are free-form"
    if not command.success_response:
        yield "does not reply when it succeeds"
    if command.allow_oob:
        yield "may be executed out of band"
    if command.allow_preconfig:
        yield "allowed before the machine is configured"


def _condition(condition: Condition) -> str:
    expression = condition.expression
    return expression if isinstance(expression, str) else json.dumps(expression)


def _show_arguments(entity: Command | Event) -> Iterator[str]:
    title = "Arguments" if isinstance(entity, Command) else "Data"
    arguments = entity.arguments
    if arguments is None:
        yield from ("", f"{title}: none")
    elif arguments.implicit:
        yield from _show_object(arguments, entity.doc, title)
    else:
        yield from _show_object(arguments, arguments.doc, f"{title} ({arguments.name})")


def _show_returns(command: Command) -> Iterator[str]:
    text = _section(command.doc, "returns")
    name = "nothing" if command.returns is None else type_name(command.returns)
    yield from ("", f"Returns: {name}")
    yield from _prose(text, "    ")


def _show_object(entity: ObjectType, doc: Doc | None, title: str) -> Iterator[str]:
    """Members with those of the base, then branches."""
    yield ""
    if entity.is_empty:
        yield f"{title}: none"
        return
    yield f"{title}:"
    if entity.base is not None:
        own = doc if entity.base.implicit else entity.base.doc
        yield from _members(entity.base, own)
    for member in entity.local_members:
        yield from _member(member, doc)
    tag = entity.discriminator
    if tag is None:
        return
    yield from ("", f"Further members by {tag.name}:")
    for branch in entity.branches:
        if branch.type.is_empty:
            text = "none"
        elif branch.type.implicit:
            text = ", ".join(f"{m.name}: {type_name(m.type)}" for m in branch.type.members())
        else:
            text = f"those of {branch.type.name}"
        yield f"  {branch.name}: {text}{_remarks((), branch.condition)}"


def _members(entity: ObjectType, doc: Doc | None) -> Iterator[str]:
    if entity.base is not None:
        yield from _members(entity.base, entity.base.doc)
    for member in entity.local_members:
        yield from _member(member, doc)


def _member(member: Member, doc: Doc | None) -> Iterator[str]:
    optional = ", optional" if member.optional else ""
    remarks = _remarks(member.features, member.condition)
    yield f"  {member.name}: {type_name(member.type)}{optional}{remarks}"
    yield from _prose(member_text(doc, member.name), "      ")


def _values(entity: EnumType) -> Iterator[str]:
    for value in entity.members:
        yield f"  {value.name}{_remarks(value.features, value.condition)}"
        yield from _prose(member_text(entity.doc, value.name), "      ")


def _alternatives(entity: AlternateType) -> Iterator[str]:
    for alternative in entity.alternatives:
        remarks = _remarks((), alternative.condition)
        yield f"  {alternative.name}: {type_name(alternative.type)}{remarks}"
        yield from _prose(member_text(entity.doc, alternative.name), "      ")


def _remarks(features: Sequence[Feature], condition: Condition | None) -> str:
    remarks = [feature.name for feature in features]
    if condition is not None:
        remarks.append(f"if {_condition(condition)}")
    return f" ({', '.join(remarks)})" if remarks else ""


def _show_features(entity: Entity) -> Iterator[str]:
    if not entity.features:
        return
    yield from ("", "Features:")
    for feature in entity.features:
        yield f"  {feature.name}{_remarks((), feature.condition)}"
        yield from _prose(_section(entity.doc, "feature", feature.name), "      ")


def _show_sections(doc: Doc | None) -> Iterator[str]:
    """The sections that belong to no part: errors, notes, examples, paragraphs."""
    for section in doc.sections if doc else ():
        if section.kind in ("plain", "errors", "note", "example"):
            title = [] if section.kind == "plain" else [f"{section.kind.capitalize()}:"]
            yield from ("", *title)
            yield from _prose(section.text, "    " if title else "")


def _section(doc: Doc | None, kind: str, name: str | None = None) -> str:
    sections: Iterable[str] = (
        section.text
        for section in (doc.sections if doc else ())
        if section.kind == kind and section.name == name
    )
    return next(iter(sections), "")


def member_text(doc: Doc | None, name: str) -> str:
    """What is said of a member or value; empty if nothing is."""
    return (doc.member(name) if doc else None) or ""


def _prose(text: str, indent: str) -> Iterator[str]:
    """`text` filled to `WIDTH`; indented lines and lists keep their lines."""
    for number, paragraph in enumerate(filter(None, re.split(r"\n{2,}", text))):
        if number:
            yield ""
        lines = paragraph.split("\n")
        if any(line.startswith(" ") or _STARTS_ANEW.match(line) for line in lines):
            yield from (f"{indent}{line}" for line in lines)
        else:
            yield from _fill(paragraph, indent)


def _fill(text: str, indent: str) -> list[str]:
    """`text` in lines of at most `WIDTH`, names left whole."""
    return textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )

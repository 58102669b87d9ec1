"""A page about the commands of a schema, in Markdown, a section for each module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from qmpd.qapi.compiler.entities import Command, Doc, EnumType, ObjectType, Schema, Type
from qmpd.qapi.outputs.show import member_text, type_name


def reference(schema: Schema, intro: str, wanted: Callable[[str], bool]) -> str:
    """The text of the page.

    :param intro: what it begins with, heading and all
    :param wanted: whether a module, by its name, is on the page
    """
    parts = [intro.rstrip()]
    module = None
    for entity in schema.entities.values():
        if entity.module is None or not wanted(entity.module):
            continue
        if isinstance(entity, Command):
            if entity.module != module:
                module = entity.module
                parts.append(f"## {module}")
            parts.append("\n\n".join(_command(entity)))
        elif isinstance(entity, ObjectType | EnumType) and not entity.name.startswith("q_"):
            if isinstance(entity, ObjectType) and entity.implicit:
                continue
            if entity.module != module:
                module = entity.module
                parts.append(f"## {module}")
            parts.append("\n\n".join(_type(entity)))
    return "\n\n".join(parts) + "\n"


def _command(command: Command) -> Iterator[str]:
    yield f"### `{command.name}`"
    yield from _body(command.doc)
    if command.arguments is not None and not command.arguments.is_empty:
        yield "\n".join(_members(command.arguments, command.doc))
    if command.returns is not None:
        text = _section(command.doc, "returns")
        yield f"Returns {text or 'a value'} (`{_type_name(command.returns)}`)."
    errors = _section(command.doc, "errors")
    if errors:
        items = [f"* {item}" for item in _items(errors)]
        yield "\n".join(["It fails where", "", *items])


def _type(entity: ObjectType | EnumType) -> Iterator[str]:
    yield f"### {entity.name}"
    yield from _body(entity.doc)
    if isinstance(entity, EnumType):
        yield "\n".join(
            f"* `{value.name}`: {_line(member_text(entity.doc, value.name))}"
            for value in entity.members
        )
    else:
        yield "\n".join(_members(entity, entity.doc))


def _members(type_: ObjectType, doc: Doc | None) -> Iterator[str]:
    yield "| member | type | |"
    yield "|---|---|---|"
    for member in type_.members():
        optional = " (optional)" if member.optional else ""
        text = _line(member_text(doc, member.name)).replace("|", "\\|")
        yield f"| `{member.name}` | {_type_name(member.type)}{optional} | {text} |"


def _type_name(type_: Type) -> str:
    return type_name(type_)


def _body(doc: Doc | None) -> Iterator[str]:
    text = "" if doc is None else doc.body
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield _line(paragraph)


def _section(doc: Doc | None, kind: str) -> str:
    for section in () if doc is None else doc.sections:
        if section.kind == kind:
            return section.text if kind == "errors" else _line(section.text)
    return ""


def _items(text: str) -> Iterable[str]:
    """The items of a list, each in one line."""
    items: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("- "):
            items.append(line.lstrip()[2:])
        elif items:
            items[-1] += f" {line.strip()}"
    return (_line(item) for item in items)


def _line(text: str | None) -> str:
    """Text in one line; names of members as code."""
    words = " ".join((text or "").split()).split(" ")
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if not word.startswith("@") or len(word) == 1:
        return word
    name = word[1:].rstrip(".,;:")
    return f"`{name}`{word[1 + len(name) :]}"

"""What changed between two versions of a schema, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

from qmpd.qapi.compiler.conditions import Conditions
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
from qmpd.qapi.outputs.show import type_name

What = Literal["came", "went", "changed", "deprecated"]

_KINDS: Final[Mapping[type[Entity], str]] = {
    Command: "command",
    Event: "event",
    EnumType: "type",
    ObjectType: "type",
    AlternateType: "type",
}
_FLAGS: Final = {
    "allow_oob": ("may no longer be sent out of band", "may be sent out of band"),
    "allow_preconfig": (
        "may no longer come before the machine is made",
        "may come before the machine is made",
    ),
    "gen": ("its arguments are no longer checked", "its arguments are checked"),
}
"""What is said of a command that has lost, or got, what QAPI calls so."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    :param what: ``came``, ``went``, ``changed`` or ``deprecated``
    :param kind: of what it is about: command, event or type
    :param name: the name of that
    :param part: the member, value or branch concerned; None: the whole
    :param detail: what changed, in words; of what is deprecated: what takes its place
    :param condition: the condition of the schema that says when, if that is looked up
    """

    what: What
    kind: str
    name: str
    part: str | None = None
    detail: str = ""
    condition: str | None = None


def with_conditions(changes: Iterable[Change], known: Conditions) -> list[Change]:
    """Changes with the conditions that they come from."""
    return [replace(change, condition=known.get((change.name, change.part))) for change in changes]


def diff(before: Schema, after: Schema, name: str | None = None) -> list[Change]:
    """What changed from `before` to `after`.

    :param name: only in this command, event or type, and in the types it is made of
    """
    names = dict.fromkeys((*before.entities, *after.entities))
    if name is not None:
        wanted = _reached(before, name) | _reached(after, name)
        names = {each: None for each in names if each in wanted}
    found: list[Change] = []
    for each in names:
        old, new = before.entities.get(each), after.entities.get(each)
        chosen = new or old
        if chosen is None or type(chosen) not in _KINDS or _is_hidden(chosen):
            continue
        kind = _KINDS[type(chosen)]
        if old is None or new is None:
            found.append(Change("came" if old is None else "went", kind, each))
        else:
            found += _Difference(kind, each).changes(old, new)
    return found


def diff_json(changes: Iterable[Change]) -> str:
    """The changes as a JSON list of objects."""
    return json.dumps([asdict(change) for change in changes], indent=2) + "\n"


def diff_text(changes: Sequence[Change], old: str, new: str, *, backwards: bool = False) -> str:
    """The changes in lines, grouped by what happened.

    :param backwards: `old` is the newer one
    """
    if not changes:
        return f"nothing changed from {old} to {new}\n"
    titles = {
        "came": f"Came after {old}, at the latest with {new}:",
        "went": f"Gone in {new}:",
        "deprecated": f"Deprecated in {new}:",
        "changed": "Changed:",
    }
    if backwards:
        titles["came"] = f"In {new}, and not in {old}:"
        titles["went"] = f"In {old}, and not in {new}:"
    lines = []
    for what, title in titles.items():
        chosen = [change for change in changes if change.what == what]
        if chosen:
            lines += ["", title, *(f"  {_line(change)}" for change in chosen)]
    return "\n".join(lines[1:]) + "\n"


def _line(change: Change) -> str:
    part = f": {change.part}" if change.part is not None else ""
    notes = [note for note in (change.detail, change.condition) if note]
    more = f" ({'; '.join(notes)})" if notes else ""
    return f"{change.kind} {change.name}{part}{more}"


def _is_hidden(entity: Entity) -> bool:
    """Whether it is a type that only the compiler has a name for."""
    implicit = getattr(entity, "implicit", False)
    return bool(implicit) or (isinstance(entity, Type) and entity.module is None)


def _reached(schema: Schema, name: str) -> set[str]:
    """Names of `name` and of all types that it is made of."""
    found: set[str] = set()
    start = schema.entities.get(name)
    queue: list[Entity | None] = [start]
    while queue:
        entity = queue.pop()
        if entity is None or entity.name in found:
            continue
        found.add(entity.name)
        match entity:
            case Command():
                queue += [entity.arguments, entity.returns]
            case Event():
                queue.append(entity.arguments)
            case ArrayType():
                queue.append(entity.element)
            case ObjectType():
                queue += [entity.base, *(m.type for m in entity.members())]
                queue += [branch.type for branch in entity.branches]
            case AlternateType():
                queue += [alternative.type for alternative in entity.alternatives]
    return found


class _Difference:
    """Finds the changes of one entity.

    :param kind: command, event or type
    :param name: its name
    """

    def __init__(self, kind: str, name: str) -> None:
        self._kind = kind
        self._name = name
        self._advice = ""

    def _change(self, what: What, part: str | None = None, detail: str = "") -> Change:
        return Change(what, self._kind, self._name, part, detail)

    def changes(self, old: Entity, new: Entity) -> Iterator[Change]:
        """The changes from `old` to `new`, which have the same name."""
        self._advice = _advice(new)
        yield from self._features(None, old.features, new.features)
        match old, new:
            case ((Command() | Event()), (Command() | Event())):
                yield from self._members(_members(old.arguments), _members(new.arguments))
                yield from self._command(old, new)
            case EnumType(), EnumType():
                yield from self._parts(
                    {value.name: value.features for value in old.members},
                    {value.name: value.features for value in new.members},
                    lambda _: "",
                )
            case ObjectType(), ObjectType():
                yield from self._members(_members(old), _members(new))
                yield from self._branches(old, new)
            case AlternateType(), AlternateType():
                yield from self._alternatives(old, new)

    def _command(self, old: Entity, new: Entity) -> Iterator[Change]:
        if not isinstance(old, Command) or not isinstance(new, Command):
            return
        returns = tuple(_spoken(each.returns) for each in (old, new))
        if returns[0] != returns[1]:
            yield self._change("changed", None, f"returns {returns[1]}, before {returns[0]}")
        for flag, words in _FLAGS.items():
            if getattr(old, flag) != getattr(new, flag):
                yield self._change("changed", None, words[getattr(new, flag)])

    def _members(self, old: Mapping[str, Member], new: Mapping[str, Member]) -> Iterator[Change]:
        yield from self._parts(
            {name: member.features for name, member in old.items()},
            {name: member.features for name, member in new.items()},
            lambda name: _spoken(new[name].type),
        )
        for name, member in new.items():
            if name not in old:
                continue
            before = old[name]
            if before.optional != member.optional:
                detail = "may be left out now" if member.optional else "is always there now"
                yield self._change("changed", name, detail)
            if _spoken(before.type) != _spoken(member.type):
                detail = f"{_spoken(member.type)}, before {_spoken(before.type)}"
                yield self._change("changed", name, detail)

    def _branches(self, old: ObjectType, new: ObjectType) -> Iterator[Change]:
        before = {branch.name: branch.type for branch in old.branches}
        after = {branch.name: branch.type for branch in new.branches}
        if bool(before) != bool(after):
            tag = (new if after else old).discriminator
            verb = "depends" if after else "no longer depends"
            yield self._change("changed", None, f"{verb} on {tag.name if tag else ''}")
            return
        for name, type_ in after.items():
            if name in before and _spoken(before[name]) != _spoken(type_):
                detail = f"branch {_spoken(type_)}, before {_spoken(before[name])}"
                yield self._change("changed", name, detail)

    def _alternatives(self, old: AlternateType, new: AlternateType) -> Iterator[Change]:
        texts = [
            " or ".join(_spoken(alternative.type) for alternative in each.alternatives)
            for each in (old, new)
        ]
        if texts[0] != texts[1]:
            yield self._change("changed", None, f"{texts[1]}, before {texts[0]}")

    def _parts(
        self,
        old: Mapping[str, Sequence[Feature]],
        new: Mapping[str, Sequence[Feature]],
        detail: Callable[[str], str],
    ) -> Iterator[Change]:
        for name in new:
            if name not in old:
                yield self._change("came", name, detail(name))
            else:
                yield from self._features(name, old[name], new[name])
        for name in old:
            if name not in new:
                yield self._change("went", name)

    def _features(
        self, part: str | None, old: Sequence[Feature], new: Sequence[Feature]
    ) -> Iterator[Change]:
        before, after = ({feature.name for feature in features} for features in (old, new))
        for name in sorted(after - before):
            if name == "deprecated":
                yield self._change("deprecated", part, self._advice)
            else:
                yield self._change("changed", part, f"feature {name} came")
        for name in sorted(before - after):
            yield self._change("changed", part, f"feature {name} went")


def _members(type_: ObjectType | None) -> Mapping[str, Member]:
    return {} if type_ is None else {member.name: member for member in type_.members()}


def _advice(entity: Entity) -> str:
    """What is said of what is deprecated in a definition."""
    for section in () if entity.doc is None else entity.doc.sections:
        if (section.kind, section.name) == ("feature", "deprecated"):
            return " ".join(section.text.split())
    return ""


def _spoken(type_: Type | None) -> str:
    """A type as one says it; anonymous ones have no names."""
    if type_ is None or (isinstance(type_, ObjectType) and type_.implicit):
        return "nothing" if type_ is None or type_.is_empty else "an object"
    if isinstance(type_, ArrayType | BuiltinType):
        return type_name(type_)
    return type_.name

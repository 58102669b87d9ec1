"""One schema that has what any of several versions has; the declarations of models are its.

Handlers are written against one set of declarations, whatever the version of a machine.  So a
member that only some versions have is declared as optional, and is None where the machine's
version lacks it (see `absent_members`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qmpd.qapi.compiler.entities import Doc, Entity, EnumType, Member, ObjectType, Schema


def merged(chief: Schema, others: Iterable[Schema]) -> Schema:
    """`chief`, with what it lacks of `others`; what they have otherwise is as `chief` has it.

    The entities of `chief` are changed.
    """
    entities = dict(chief.entities)
    modules = dict.fromkeys(chief.modules)
    for other in others:
        modules.update(dict.fromkeys(other.modules))
        for name, theirs in other.entities.items():
            ours = entities.setdefault(name, theirs)
            if ours is not theirs:
                _extend(ours, theirs)
    return Schema(chief.file, entities, tuple(modules))


def _extend(ours: Entity, theirs: Entity) -> None:
    if isinstance(ours, EnumType) and isinstance(theirs, EnumType):
        names = {value.name for value in ours.members}
        more = [value for value in theirs.members if value.name not in names]
        ours.members = (*ours.members, *more)
        ours.doc = _documented(ours.doc, theirs.doc, [value.name for value in more])
    elif isinstance(ours, ObjectType) and isinstance(theirs, ObjectType):
        names = {member.name for member in ours.members()}
        lacking = [member for member in theirs.local_members if member.name not in names]
        ours.local_members = (*ours.local_members, *map(_optional, lacking))
        ours.doc = _documented(ours.doc, theirs.doc, [member.name for member in lacking])
        branches = {branch.name for branch in ours.branches}
        if ours.branches:
            added = [branch for branch in theirs.branches if branch.name not in branches]
            ours.branches = (*ours.branches, *added)


def _optional(member: Member) -> Member:
    return replace(member, optional=True)


def _documented(ours: Doc | None, theirs: Doc | None, names: Sequence[str]) -> Doc | None:
    if ours is None or theirs is None or not names:
        return ours
    more = [s for s in theirs.sections if s.kind == "member" and s.name in names]
    return replace(ours, sections=(*ours.sections, *more))


def absent_members(schema: Schema, others: Iterable[Schema]) -> Mapping[str, Sequence[str]]:
    """For each object type of `schema`, the members that it has in one of `others` only.

    What a type derived from it has itself is left to that one.
    """
    known: dict[str, dict[str, None]] = {}
    for other in others:
        for name, entity in other.entities.items():
            if isinstance(entity, ObjectType):
                known.setdefault(name, {}).update((m.name, None) for m in entity.members())
    objects = {n: e for n, e in schema.entities.items() if isinstance(e, ObjectType)}
    below: dict[str, set[str]] = {}
    for entity in objects.values():
        base = entity.base
        while base is not None:
            below.setdefault(base.name, set()).update(m.name for m in entity.members())
            base = base.base
    found = {}
    for name, entity in objects.items():
        present = {member.name for member in entity.members()} | below.get(name, set())
        absent = [member for member in known.get(name, ()) if member not in present]
        if absent:
            found[name] = absent
    return found

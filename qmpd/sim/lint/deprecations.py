"""What is deprecated in a request: the command, arguments, values; and what takes their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from qmpd.errors import GenericError, QmpError
from qmpd.profile.profile import Profile
from qmpd.profile.shipped import load, schema_path
from qmpd.qapi.compiler.entities import (
    AlternateType,
    ArrayType,
    Command,
    Entity,
    EnumMember,
    EnumType,
    Member,
    ObjectType,
    Schema,
)
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.refusals import refusal
from qmpd.sim.lint.session import Asked, Session


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What is deprecated in versions that do not refuse it."""
    known: dict[str, list[Finding]] = {}
    for asked in session.requests:
        key = asked.key
        if key not in known:
            known[key] = list(_about(asked, versions))
        yield from (replace(finding, place=asked.place) for finding in known[key])


def _about(asked: Asked, versions: Sequence[str]) -> Iterator[Finding]:
    parts: dict[tuple[str, str], list[str]] = {}
    for version in versions:
        if refusal(load(version), asked) is None:
            for part in _deprecated(load(version), asked):
                parts.setdefault(part, []).append(version)
    for part, where in parts.items():
        why = "the command" if part[0] == "command" else " ".join(part)
        advice = _advice(asked.command, where[-1], part)
        yield Finding("deprecated", asked.place, asked.command, tuple(where), why, advice)


@cache
def _schema(version: str) -> Schema:
    return compile_schema(schema_path(), version)


class _Noting(CompatPolicy):
    """Refuses nothing, and notes what is deprecated: the kind of a thing, and its name."""

    noted: dict[tuple[str, str], None]

    def check_input(
        self,
        kind: str,
        name: str,
        features: Sequence[str],
        error: type[QmpError] = GenericError,
    ) -> None:
        """Note a thing."""
        if "deprecated" in features:
            self.noted[kind, name] = None


def _deprecated(profile: Profile, asked: Asked) -> list[tuple[str, str]]:
    """The parts of a request that are deprecated, the outermost first."""
    policy = _Noting()
    policy.noted = {}
    refusal(profile, asked, policy)
    return list(policy.noted)


def _advice(command: str, version: str, part: tuple[str, str]) -> str | None:
    """What the schema says of a deprecated part, and of what takes its place.

    It is said where the part is defined: at the command, or at a type that its arguments have.
    """
    kind, name = part
    schema = _schema(version)
    entity = schema.entities.get(command)
    for each in _made_of(entity):
        if kind == "command" or _has_deprecated(each, name):
            # arguments without a type of their own are described where the command is
            anonymous = isinstance(each, ObjectType) and each.implicit
            doc = entity.doc if anonymous and entity is not None else each.doc
            for section in () if doc is None else doc.sections:
                if (section.kind, section.name) == ("feature", "deprecated"):
                    return " ".join(section.text.split())
    return None


def _made_of(entity: Entity | None) -> Iterator[Entity]:
    """A command, and the types that its arguments are made of."""
    queue: list[Entity | None] = [entity]
    seen: set[str] = set()
    while queue:
        each = queue.pop(0)
        if each is None or each.name in seen:
            continue
        seen.add(each.name)
        yield each
        match each:
            case Command():
                queue.append(each.arguments)
            case ArrayType():
                queue.append(each.element)
            case ObjectType():
                queue += [each.base, *(member.type for member in each.local_members)]
                queue += [branch.type for branch in each.branches]
            case AlternateType():
                queue += [alternative.type for alternative in each.alternatives]


def _has_deprecated(entity: Entity, name: str) -> bool:
    """Whether a type has a deprecated member or value of a name."""
    parts: Sequence[Member | EnumMember] = ()
    if isinstance(entity, ObjectType):
        parts = entity.local_members
    elif isinstance(entity, EnumType):
        parts = entity.members
    return any(
        part.name == name and any(feature.name == "deprecated" for feature in part.features)
        for part in parts
    )

"""What versions answer otherwise by their schemas.

A condition of the schema takes a member or a value away that was answered, or an event (or a member
of its data) that was sent; each finding names it.  What a version's schema has in addition is no
finding: clients have to pass over what they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from qmpd.profile.shipped import VERSIONS, load
from qmpd.qapi.runtime.type_table import EnumInfo, ObjectInfo, TypeTable
from qmpd.sim.lint.conditions import condition
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.session import Answer, Session, Told
from qmpd.sim.lint.values import members, parts, shape


class Part(NamedTuple):
    """A member of a type, or a value of an enum."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}.{self.name}"


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What `versions` answer otherwise."""
    known: dict[tuple[str, str], list[Finding]] = {}
    for step in session.steps:
        if isinstance(step, Answer) and step.error is None:
            key = (step.asked.command, shape(step.value))
            if key not in known:
                known[key] = list(_answered(step, versions))
        elif isinstance(step, Told):
            key = (step.event, shape(step.data))
            if key not in known:
                known[key] = list(_told(step, versions))
        else:
            continue
        yield from (replace(finding, place=step.place) for finding in known[key])


def _answered(answer: Answer, versions: Sequence[str]) -> Iterator[Finding]:
    command = answer.asked.command

    def lacking(version: str) -> frozenset[Part] | None:
        info = load(version).entry_points.commands.get(command)
        if info is None or info.returns is None:
            return None
        return frozenset(_lacking(load(version).types, info.returns, answer.value))

    yield from _gone("its answer has no", answer.place, command, lacking, versions)


def _told(told: Told, versions: Sequence[str]) -> Iterator[Finding]:
    event, data = told.event, dict(told.data)
    having = [version for version in VERSIONS if event in load(version).entry_points.events]
    without = tuple(version for version in versions if version not in having)
    if without and having:
        why = "there is no such event"
        yield Finding("otherwise", told.place, event, without, why, source=condition(event))

    def lacking(version: str) -> frozenset[Part] | None:
        info = load(version).entry_points.events.get(event)
        if info is None or info.arguments is None:
            return None
        return frozenset(_lacking(load(version).types, info.arguments, data))

    yield from _gone("its data has no", told.place, event, lacking, versions)


Lacking = Callable[[str], frozenset[Part] | None]
"""What a version does not have of what was said; None if it has nothing to do with it."""


def _gone(
    words: str, place: int, command: str, lacking: Lacking, versions: Sequence[str]
) -> Iterator[Finding]:
    """Findings about parts that some versions lack, those with the same versions together."""
    lacking = cache(lacking)
    by_part: dict[Part, list[str]] = {}
    for version in versions:
        for part in sorted(lacking(version) or ()):
            by_part.setdefault(part, []).append(version)
    by_versions: dict[tuple[str, ...], list[Part]] = {}
    if by_part:
        everywhere = frozenset.intersection(
            *(lack for version in VERSIONS if (lack := lacking(version)) is not None)
        )
        for part, which in by_part.items():
            # what all lack is no member that QEMU has: another program has answered
            if part not in everywhere:
                by_versions.setdefault(tuple(which), []).append(part)
    for concerned, gone in by_versions.items():
        source = ", ".join(dict.fromkeys(filter(None, (condition(*part) for part in gone)))) or None
        why = f"{words} {', '.join(map(str, gone))}"
        yield Finding("otherwise", place, command, concerned, why, source=source)


def _lacking(types: TypeTable, reference: str, value: Any) -> Iterator[Part]:
    """What is in a value that its type does not have."""
    for type_name, part in parts(types, reference, value):
        info = types.get(type_name)
        if isinstance(info, EnumInfo):
            if isinstance(part, str) and part not in info.values:
                yield Part(type_name, part)
        elif isinstance(info, ObjectInfo) and isinstance(part, dict):
            if not _is_tag_known(types, info, part):
                continue
            known = {member.name for member in members(types, info, part)}
            for name in part:
                if name not in known:
                    yield Part(type_name, name)


def _is_tag_known(types: TypeTable, info: ObjectInfo, value: Mapping[str, Any]) -> bool:
    """Whether the value that decides on the branch of a union is one of its type.

    If not, that is told of the value, and nothing of what the branch would have.
    """
    tags = [types.get(member.type) for member in info.members if member.name == info.tag]
    said = str(value.get(str(info.tag)))
    return all(isinstance(tag, EnumInfo) and said in tag.values for tag in tags)

"""What versions answer otherwise.

Three things tell of it, and each finding says which:

* a rule of `qmpd.profile.rules` concerns what was asked (`touches`), a member that was answered,
  or the words of an error;
* a condition of the schema takes a member or a value away that was answered, or an event (or a
  member of its data) that was sent.

What a version's schema has in addition is no finding: clients have to pass over what they do not
know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from qmpd.profile.profile import Profile
from qmpd.profile.rule import Completion, MonitorNames, Rewording, Rule
from qmpd.profile.rules import RULES
from qmpd.profile.shipped import VERSIONS, load
from qmpd.qapi.runtime.type_table import (
    BUILTINS,
    AlternateInfo,
    EnumInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)
from qmpd.sim.lint.conditions import condition
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.session import Answer, Asked, Session, Told

HMP: Final = "human-monitor-command"


class Part(NamedTuple):
    """A member of a type, or a value of an enum."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}.{self.name}"


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What `versions` answer otherwise."""
    for step in session.steps:
        if isinstance(step, Asked):
            yield from _asked(step, versions)
        elif isinstance(step, Answer):
            yield from _answered(step, versions)
        else:
            yield from _told(step, versions)


def _holding(rule: Rule, versions: Sequence[str]) -> tuple[str, ...]:
    """The versions where a rule holds; none where it holds in all, for they do not differ."""
    which = tuple(version for version in versions if load(version).rules.has(rule))
    return () if len(which) == len(versions) else which


def _of_rule(rule: Rule, place: int, command: str, which: tuple[str, ...], why: str) -> Finding:
    source = f"rule {rule.name}: {rule.source}"
    return Finding("otherwise", place, command, which, why, source=source)


# What was asked


def _asked(asked: Asked, versions: Sequence[str]) -> Iterator[Finding]:
    for rule in RULES:
        if any(_touches(path.split("."), asked) for path in rule.touches):
            which = _holding(rule, versions)
            if which:
                yield _of_rule(rule, asked.place, asked.command, which, rule.what)
    if asked.command == HMP:
        yield from _monitor_line(asked, versions)


def _monitor_line(asked: Asked, versions: Sequence[str]) -> Iterator[Finding]:
    """A command of the human monitor that only some versions have."""
    words = str(asked.arguments.get("command-line")).split()
    name = " ".join(words[: 2 if words[:1] == ["info"] else 1])
    for rule in RULES:
        if isinstance(rule.change, MonitorNames) and name in rule.change.names:
            which = tuple(v for v in versions if not load(v).rules.has(rule))
            if which and len(which) < len(versions):
                why = f"the human monitor has no '{name}'"
                yield _of_rule(rule, asked.place, asked.command, which, why)


def _touches(path: Sequence[str], asked: Asked) -> bool:
    """Whether a command has an argument: ``COMMAND``, or ``COMMAND.MEMBER.MEMBER``."""
    command, *members = path
    if command != asked.command:
        return False
    value: Any = asked.arguments
    for member in members:
        if not isinstance(value, dict) or member not in value:
            return False
        value = value[member]
    return True


# What was answered


def _answered(answer: Answer, versions: Sequence[str]) -> Iterator[Finding]:
    command = answer.asked.command
    if answer.error is not None:
        yield from _reworded(answer, "errors", "the error", answer.error, versions)
        return
    if command == HMP and isinstance(answer.value, str):
        yield from _reworded(answer, "monitor", "what is shown", answer.value, versions)
        return
    yield from _completed(answer, versions)
    lacking = {}
    for version in versions:
        profile = load(version)
        info = profile.entry_points.commands.get(command)
        if info is not None and info.returns is not None:
            parts = _lacking(profile.types, info.returns, answer.value)
            lacking[version] = frozenset(parts)
    yield from _gone("its answer has no", answer.place, command, lacking)


def _reworded(
    answer: Answer, of: str, what: str, text: str, versions: Sequence[str]
) -> Iterator[Finding]:
    """Rules about the words of a text.

    :param of: the texts that it is one of, as `Rewording` says
    :param what: what it is, for people
    """
    for rule in RULES:
        if not isinstance(rule.change, Rewording) or rule.change.of != of:
            continue
        which = _holding(rule, versions)
        if not which:
            continue
        words = re.sub(rule.change.pattern, rule.change.words, text)
        if words != text:
            why = f"{what} is '{words}'"
        elif of == "errors" and _reverse(rule.change.words).fullmatch(text):
            why = f"{what} has the words recorded, and others elsewhere"
        else:
            continue
        yield _of_rule(rule, answer.asked.place, answer.asked.command, which, why)


@cache
def _reverse(words: str) -> re.Pattern[str]:
    """What matches an error in the words of a rule."""
    return re.compile("(.*)".join(map(re.escape, re.split(r"\\\d", words))))


@cache
def _completions() -> Mapping[str, tuple[Rule, ...]]:
    by_type: dict[str, tuple[Rule, ...]] = {}
    for rule in RULES:
        if isinstance(rule.change, Completion):
            by_type[rule.change.type] = (*by_type.get(rule.change.type, ()), rule)
    return by_type


def _completed(answer: Answer, versions: Sequence[str]) -> Iterator[Finding]:
    """Members that only some versions tell, of objects in an answer."""
    command = answer.asked.command
    seen: set[str] = set()
    for version in VERSIONS:
        info = load(version).entry_points.commands.get(command)
        if info is None or info.returns is None:
            continue
        for type_name, value in _objects(load(version).types, info.returns, answer.value):
            for rule in _completions().get(type_name, ()):
                change = rule.change
                if rule.name in seen or not isinstance(change, Completion):
                    continue
                if _is_told(change, value):
                    seen.add(rule.name)
                    which = _holding(rule, versions)
                    if which:
                        yield _of_rule(rule, answer.asked.place, command, which, rule.what)


def _is_told(change: Completion, value: Mapping[str, Any]) -> bool:
    """Whether some version tells the member that a rule is about, of an object."""
    if change.member in value:
        return True
    try:
        return change.value(value) is not None
    except (KeyError, TypeError):
        # it is not made of what QEMU tells
        return False


def _objects(types: TypeTable, reference: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a value, with their types and those that these are made of."""
    for type_name, part in _parts(types, reference, value):
        info = types.get(type_name)
        while isinstance(info, ObjectInfo) and isinstance(part, dict):
            yield info.name, part
            info = None if info.base is None else types.get(info.base)


def _parts(types: TypeTable, reference: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and all that is in it, each with its type; what does not fit is left out."""
    element = array_element(reference)
    if element is not None:
        for item in value if isinstance(value, list) else ():
            yield from _parts(types, element, item)
        return
    info = types.get(reference)
    if isinstance(info, AlternateInfo):
        chosen = info.by_kind.get(json_kind(value))
        if chosen is not None:
            yield from _parts(types, chosen, value)
        return
    if info is not None:
        yield reference, value
    if isinstance(info, ObjectInfo) and isinstance(value, dict):
        for member in _members(types, info, value):
            if member.name in value:
                yield from _parts(types, member.type, value[member.name])


def _members(types: TypeTable, info: ObjectInfo, value: Mapping[str, Any]) -> Iterator[Any]:
    """The members that an object may have, with those of its branch."""
    yield from info.members
    branch = info.branches.get(str(value.get(info.tag))) if info.tag is not None else None
    if branch is not None:
        yield from _members(types, types.object(branch), value)


def _lacking(types: TypeTable, reference: str, value: Any) -> Iterator[Part]:
    """What is in a value that its type does not have."""
    for type_name, part in _parts(types, reference, value):
        info = types.get(type_name)
        if isinstance(info, EnumInfo):
            if isinstance(part, str) and part not in info.values:
                yield Part(type_name, part)
        elif isinstance(info, ObjectInfo) and isinstance(part, dict):
            if not _is_tag_known(types, info, part):
                continue
            known = {member.name for member in _members(types, info, part)}
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


def _gone(
    words: str, place: int, command: str, lacking: Mapping[str, frozenset[Part]]
) -> Iterator[Finding]:
    """Findings about parts that some versions lack, those with the same versions together."""
    by_part: dict[Part, list[str]] = {}
    for version, parts in lacking.items():
        for part in sorted(parts):
            by_part.setdefault(part, []).append(version)
    by_versions: dict[tuple[str, ...], list[Part]] = {}
    for part, which in by_part.items():
        # what all lack is no member that QEMU has: another program has answered
        if len(which) < len(lacking):
            by_versions.setdefault(tuple(which), []).append(part)
    for versions, gone in by_versions.items():
        source = ", ".join(dict.fromkeys(filter(None, (condition(*part) for part in gone)))) or None
        why = f"{words} {', '.join(map(str, gone))}"
        yield Finding("otherwise", place, command, versions, why, source=source)


# Events


def _told(told: Told, versions: Sequence[str]) -> Iterator[Finding]:
    without = tuple(v for v in versions if told.event not in load(v).entry_points.events)
    if without and len(without) < len(versions):
        source = condition(told.event)
        why = "there is no such event"
        yield Finding("otherwise", told.place, told.event, without, why, source=source)
    lacking = {}
    for version in versions:
        event = load(version).entry_points.events.get(told.event)
        if event is not None:
            parts = _event_parts(load(version), event.arguments, told.data)
            lacking[version] = frozenset(parts)
    yield from _gone("its data has no", told.place, told.event, lacking)


def _event_parts(
    profile: Profile, reference: str | None, data: Mapping[str, Any]
) -> Iterator[Part]:
    if reference is not None and reference not in BUILTINS:
        yield from _lacking(profile.types, reference, dict(data))

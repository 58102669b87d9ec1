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
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from qmpd.profile.rule import Completion, MonitorNames, Rewording, Rule
from qmpd.profile.rules import RULES
from qmpd.profile.shipped import VERSIONS, load
from qmpd.qapi.runtime.type_table import (
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


class _Range(NamedTuple):
    """Versions that are looked at.

    :param versions: these
    :param recorded: the one that has answered, if that is known
    """

    versions: Sequence[str]
    recorded: str | None = None

    def holding(self, rule: Rule) -> tuple[str, ...]:
        """The versions where a rule holds; none where they, and the recorded one, are the same."""
        which = tuple(version for version in self.versions if _holds(rule, version))
        same = self.recorded is None or _holds(rule, self.recorded)
        return () if len(which) == len(self.versions) and same else which


def _holds(rule: Rule, version: str) -> bool:
    return load(version).rules.has(rule)


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What `versions` answer otherwise."""
    range_ = _Range(versions, session.version)
    for step in session.steps:
        if isinstance(step, Asked):
            yield from _asked(step, range_)
        elif isinstance(step, Answer):
            yield from _answered(step, range_)
        else:
            yield from _told(step, versions)


def _of_rule(rule: Rule, place: int, command: str, which: tuple[str, ...], why: str) -> Finding:
    source = f"rule {rule.name}: {rule.source}"
    return Finding("otherwise", place, command, which, why, source=source)


# What was asked


def _asked(asked: Asked, range_: _Range) -> Iterator[Finding]:
    for rule in RULES:
        if any(_touches(path.split("."), asked) for path in rule.touches):
            which = range_.holding(rule)
            if which:
                yield _of_rule(rule, asked.place, asked.command, which, rule.what)
    if asked.command == HMP:
        yield from _monitor_line(asked, range_.versions)


def _monitor_line(asked: Asked, versions: Sequence[str]) -> Iterator[Finding]:
    """A command of the human monitor that only some versions have."""
    words = str(asked.arguments.get("command-line")).split()
    name = " ".join(words[: 2 if words[:1] == ["info"] else 1])
    for rule in RULES:
        if isinstance(rule.change, MonitorNames) and name in rule.change.names:
            which = tuple(version for version in versions if not _holds(rule, version))
            if which:
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


def _answered(answer: Answer, range_: _Range) -> Iterator[Finding]:
    command, value = answer.asked.command, answer.value
    if answer.error is not None:
        yield from _reworded(answer, "errors", "the error", answer.error, range_)
        return
    if command == HMP and isinstance(value, str):
        yield from _reworded(answer, "monitor", "what is shown", value, range_)
        return
    yield from _completed(answer, range_)

    def lacking(version: str) -> frozenset[Part] | None:
        info = load(version).entry_points.commands.get(command)
        if info is None or info.returns is None:
            return None
        return frozenset(_lacking(load(version).types, info.returns, value))

    yield from _gone("its answer has no", answer.place, command, lacking, range_.versions)


def _reworded(answer: Answer, of: str, what: str, text: str, range_: _Range) -> Iterator[Finding]:
    """Rules about the words of a text.

    :param of: the texts that it is one of, as `Rewording` says
    :param what: what it is, for people
    """
    for rule in RULES:
        if not isinstance(rule.change, Rewording) or rule.change.of != of:
            continue
        which = range_.holding(rule)
        if not which:
            continue
        words = re.sub(rule.change.pattern, rule.change.words, text)
        if words != text:
            why = f"{what} is '{words}'"
        elif of == "errors" and _has_words(rule.change, text):
            why = f"{what} has the words recorded, and others elsewhere"
        else:
            continue
        yield _of_rule(rule, answer.asked.place, answer.asked.command, which, why)


def _has_words(change: Rewording, error: str) -> bool:
    """Whether an error is in the words of a rule; not known where a function makes them."""
    if not isinstance(change.words, str):
        return False
    parts = map(re.escape, re.split(r"\\\d", change.words))
    return re.fullmatch("(.*)".join(parts), error) is not None


@cache
def _completions() -> Mapping[str, tuple[Rule, ...]]:
    by_type: dict[str, tuple[Rule, ...]] = {}
    for rule in RULES:
        if isinstance(rule.change, Completion):
            by_type[rule.change.type] = (*by_type.get(rule.change.type, ()), rule)
    return by_type


def _completed(answer: Answer, range_: _Range) -> Iterator[Finding]:
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
                    which = range_.holding(rule)
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


Lacking = Callable[[str], frozenset[Part] | None]
"""What a version does not have of what was said; None if it has nothing to do with it."""


def _gone(
    words: str, place: int, command: str, lacking: Lacking, versions: Sequence[str]
) -> Iterator[Finding]:
    """Findings about parts that some versions lack, those with the same versions together."""
    by_part: dict[Part, list[str]] = {}
    for version in versions:
        for part in sorted(lacking(version) or ()):
            by_part.setdefault(part, []).append(version)
    by_versions: dict[tuple[str, ...], list[Part]] = {}
    if by_part:
        everywhere = frozenset.intersection(
            *(parts for version in VERSIONS if (parts := lacking(version)) is not None)
        )
        for part, which in by_part.items():
            # what all lack is no member that QEMU has: another program has answered
            if part not in everywhere:
                by_versions.setdefault(tuple(which), []).append(part)
    for concerned, gone in by_versions.items():
        source = ", ".join(dict.fromkeys(filter(None, (condition(*part) for part in gone)))) or None
        why = f"{words} {', '.join(map(str, gone))}"
        yield Finding("otherwise", place, command, concerned, why, source=source)


# Events


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

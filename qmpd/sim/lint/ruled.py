"""What versions treat otherwise by a rule of `qmpd.profile.rules`.

A rule says itself what it concerns: words of errors and of the human monitor (`Rewording`), members
of answers (`Completion`), commands of the human monitor (`MonitorNames`), or what is asked and
answered (`Touch`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from qmpd.profile.rule import Completion, MonitorNames, Rewording, Rule, Touch
from qmpd.profile.rules import ERROR_MEMBERS, RULES
from qmpd.profile.shipped import VERSIONS, load
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.session import Answer, Asked, Session
from qmpd.sim.lint.values import objects, shape
from qmpd.sim.lint.world import World

HMP: Final = "human-monitor-command"

_REPORTED: Final = "Error: "
"""What the human monitor puts before an error."""


class _Range(NamedTuple):
    """Versions that are looked at.

    :param versions: these
    :param recorded: the one that has answered, if that is known
    """

    versions: Sequence[str]
    recorded: str | None = None

    def about(self, rule: Rule, asked: Asked, why: str | None = None) -> Iterator[Finding]:
        """A finding about the versions that differ by a rule, if there are any.

        They differ from the recorded one; if that is not known, from others that do without it.

        :param why: what is found in versions where the rule holds; None: what the rule says
        """
        holding = tuple(version for version in self.versions if _holds(rule, version))
        which, why = holding, rule.what if why is None else why
        if self.recorded is None:
            which = () if len(holding) == len(self.versions) else holding
        elif _holds(rule, self.recorded):
            which = tuple(version for version in self.versions if version not in holding)
            why = f"it is not so that: {rule.what}"
        if which:
            yield _finding(rule, asked, which, why)


def _holds(rule: Rule, version: str) -> bool:
    return load(version).rules.has(rule)


def _finding(rule: Rule, asked: Asked, which: tuple[str, ...], why: str) -> Finding:
    source = f"rule {rule.name}: {rule.source}"
    return Finding("otherwise", asked.place, asked.command, which, why, source=source)


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What `versions` treat otherwise by rules."""
    range_, world = _Range(versions, session.version), World()
    completed: _Completed = {}
    for step in session.steps:
        if isinstance(step, Asked):
            yield from _asked(step, range_, world)
        elif isinstance(step, Answer):
            yield from _answered(step, range_, completed)
        world.see(step)


# What a rule touches


@cache
def _touching() -> Mapping[str, Sequence[tuple[Rule, Touch]]]:
    """What rules touch, by command."""
    by_command: dict[str, list[tuple[Rule, Touch]]] = {}
    for rule in RULES:
        for each in rule.touches:
            touch = Touch(each) if isinstance(each, str) else each
            by_command.setdefault(touch.path.partition(".")[0], []).append((rule, touch))
    return by_command


def _asked(asked: Asked, range_: _Range, world: World) -> Iterator[Finding]:
    told: set[str] = set()
    for rule, touch in _touching().get(asked.command, ()):
        idle = touch.while_job and not world.at_work
        if touch.answer or rule.name in told or idle or not _is_touched(touch, asked):
            continue
        told.add(rule.name)
        yield from range_.about(rule, asked)
    if asked.command == HMP:
        yield from _monitor_line(asked, range_.versions)


def _is_touched(touch: Touch, asked: Asked) -> bool:
    """Whether a command has an argument as a touch says."""
    values: list[Any] = [asked.arguments]
    for member in touch.path.split(".")[1:]:
        known = [value for value in values if isinstance(value, Mapping)]
        if member == "*":
            values = [inner for value in known for inner in value.values()]
        else:
            values = [value[member] for value in known if member in value]
    return any(re.search(touch.value, _text(value)) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(dict(value) if isinstance(value, Mapping) else value)


def _monitor_line(asked: Asked, versions: Sequence[str]) -> Iterator[Finding]:
    """A command of the human monitor that only some versions have."""
    words = str(asked.arguments.get("command-line")).split()
    name = " ".join(words[: 2 if words[:1] == ["info"] else 1])
    for rule in RULES:
        if isinstance(rule.change, MonitorNames) and name in rule.change.names:
            which = tuple(version for version in versions if not _holds(rule, version))
            if which:
                yield _finding(rule, asked, which, f"the human monitor has no '{name}'")


# What was answered


def _errors_told(answer: Answer) -> Iterator[str]:
    """Errors that an answer tells of others, such as jobs."""
    profile = load(VERSIONS[-1])
    info = profile.entry_points.commands.get(answer.asked.command)
    if info is None or info.returns is None:
        return
    if info.returns.strip("[]") in ERROR_MEMBERS:
        for type_name, value in objects(profile.types, info.returns, answer.value):
            text = value.get(ERROR_MEMBERS.get(type_name, ""))
            if isinstance(text, str):
                yield text


_Completed = dict[tuple[str, str], list[Rule]]
"""Rules about members, by the command that was answered and what the answer was like."""


def _answered(answer: Answer, range_: _Range, completed: _Completed) -> Iterator[Finding]:
    asked, text = answer.asked, answer.error
    if text is not None:
        yield from _reworded(answer, "errors", "the error", text, range_)
    elif asked.command == HMP and isinstance(answer.value, str):
        text = answer.value.replace("\r\n", "\n")
        yield from _reworded(answer, "monitor", "what is shown", text, range_)
        error = text.removeprefix(_REPORTED).rstrip("\n")
        yield from _reworded(answer, "errors", "the error shown", error, range_)
    else:
        for rule in _completed(answer, completed):
            yield from range_.about(rule, asked)
        for error in _errors_told(answer):
            yield from _reworded(answer, "errors", "the error told", error, range_)
        return
    for rule, touch in _touching().get(asked.command, ()):
        if touch.answer and re.search(touch.answer, text) and _is_touched(touch, asked):
            yield from range_.about(rule, asked)


def _reworded(answer: Answer, of: str, what: str, text: str, range_: _Range) -> Iterator[Finding]:
    """Rules about the words of a text.

    :param of: the texts that it is one of, as `Rewording` says
    :param what: what it is, for people
    """
    for rule in RULES:
        change = rule.change
        if not isinstance(change, Rewording) or change.of != of:
            continue
        if change.command not in (None, answer.asked.command):
            continue
        words = re.sub(change.pattern, change.words, text, flags=re.M if of == "monitor" else 0)
        if words != text:
            yield from range_.about(rule, answer.asked, f"{what} is '{words.strip()}'")
        elif of == "errors" and _has_words(change, text):
            why = f"{what} has the words recorded, and others elsewhere"
            yield from range_.about(rule, answer.asked, why)


def _has_words(change: Rewording, error: str) -> bool:
    """Whether an error is in the words of a rule; not known where a function makes them."""
    if not isinstance(change.words, str):
        return False
    texts = map(re.escape, re.split(r"\\\d", change.words))
    return re.fullmatch("(.*)".join(texts), error) is not None


@cache
def _completions() -> Mapping[str, tuple[Rule, ...]]:
    by_type: dict[str, tuple[Rule, ...]] = {}
    for rule in RULES:
        if isinstance(rule.change, Completion):
            by_type[rule.change.type] = (*by_type.get(rule.change.type, ()), rule)
    return by_type


def _completed(answer: Answer, known: _Completed) -> Sequence[Rule]:
    """The rules about members that only some versions tell, of objects in an answer."""
    key = (answer.asked.command, shape(answer.value))
    if key not in known:
        known[key] = list(_told_members(answer))
    return known[key]


def _told_members(answer: Answer) -> Iterator[Rule]:
    command = answer.asked.command
    seen: set[str] = set()
    for version in VERSIONS:
        info = load(version).entry_points.commands.get(command)
        if info is None or info.returns is None:
            continue
        for type_name, value in objects(load(version).types, info.returns, answer.value):
            for rule in _completions().get(type_name, ()):
                change = rule.change
                if rule.name in seen or not isinstance(change, Completion):
                    continue
                if _is_told(change, value):
                    seen.add(rule.name)
                    yield rule


def _is_told(change: Completion, value: Mapping[str, Any]) -> bool:
    """Whether some version tells the member that a rule is about, of an object."""
    if change.member in value:
        return True
    try:
        return change.value(value) is not None
    except (KeyError, TypeError):
        # it is not made of what QEMU tells
        return False

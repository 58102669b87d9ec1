"""What lint says of the golden sessions, beside what each version has answered to them.

The sessions were recorded with 10.0, and played to the real programs of the other versions
(`tests.golden.versions`).  What lint finds in the former about a version has to be what the latter
show, and the other way round.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pytest

from qmpd.sim.lint import Finding, Session
from qmpd.sim.lint.run import every
from qmpd.sim.lint.session import session_of_recording
from qmpd.sim.record.recording import Said
from tests.golden.session import Exchange, load
from tests.golden.versions import NAMES, expected
from tests.support.versions import OTHERS

SESSIONS: Final = tuple(name for name in NAMES if not name.startswith(("wire-json", "wire-neg")))
"""Those that are made of requests."""

ELSEWHERE: Final = {
    ("5.2", "Parameter 'qom-type' does not accept value 'nope'"): "types are no part of the schema",
    ("5.2", "Could not refresh total sector count: File too large"): "the longest null-co",
}
"""Errors of 10.0 in whose place a version has something of which lint knows nothing, and why."""


@dataclass
class Pair:
    """A request, and how 10.0 and another version have answered it; what lint finds about that."""

    version: str
    command: str
    usual: Any
    other: Any
    findings: list[Finding]
    diverged: bool
    """Whether something before it has worked in one of the two only."""

    @property
    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.findings}


def _plain(value: Any) -> Any:
    """A message in normal form as an object again: lists of pairs with names are objects."""
    if isinstance(value, list):
        if value and all(isinstance(v, list) and len(v) == 2 and _is_name(v[0]) for v in value):
            return {name: _plain(inner) for name, inner in value}
        return [_plain(inner) for inner in value]
    return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _request(step: Exchange) -> Any:
    try:
        request = json.loads(step.sent)
    except ValueError:
        return None
    names = {"execute", "exec-oob", "arguments", "id"}
    return request if isinstance(request, dict) and set(request) <= names else None


def _answer(messages: list[Any]) -> Any:
    answers = [message for message in messages if {"return", "error"} & set(message)]
    return answers[0] if len(answers) == 1 else None


@cache
def pairs(version: str, name: str) -> list[Pair]:
    """Those of a session whose request was answered once by both."""
    steps, differing = load(name).steps, expected(version)[name]
    said: list[Said] = []
    for number, step in enumerate(steps):
        request, usual = _request(step), _answer(step.received)
        greeting = step.received[:1] if "QMP" in (step.received or [{}])[0] else []
        said += [Said(number, 1, 0.0, "server", message) for message in greeting]
        if request is not None and usual is not None:
            said.append(Said(number, 1, 0.0, "client", {**request, "id": number}))
            said.append(Said(number, 1, 0.0, "server", {**usual, "id": number}))
    session = session_of_recording(said)
    return list(_pairs(version, session, steps, differing))


def _pairs(
    version: str, session: Session, steps: list[Exchange], differing: dict[str, list[Any]]
) -> Iterator[Pair]:
    found: dict[int, list[Finding]] = {}
    for finding in every(session, (version,)):
        found.setdefault(finding.place, []).append(finding)
    diverged = False
    for asked in session.requests:
        number = asked.place
        usual = _answer(steps[number].received)
        other = usual
        if str(number) in differing:
            other = _answer([_plain(message) for message in differing[str(number)]])
        if other is not None:
            yield Pair(version, asked.command, usual, other, found.get(number, []), diverged)
            diverged = diverged or ("error" in usual) != ("error" in other)


def _desc(answer: Any) -> str | None:
    return str(answer["error"]["desc"]) if "error" in answer else None


@pytest.fixture(params=SESSIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("version", OTHERS)
def test_what_is_refused(version: str, name: str) -> None:
    for pair in pairs(version, name):
        for finding in pair.findings:
            if finding.kind in ("refused", "error"):
                assert _desc(pair.other) == finding.why


@pytest.mark.parametrize("version", OTHERS)
def test_what_fails_otherwise_is_told(version: str, name: str) -> None:
    for pair in pairs(version, name):
        usual, other = _desc(pair.usual), _desc(pair.other)
        if usual != other and not pair.diverged and (version, usual) not in ELSEWHERE:
            assert pair.kinds & {"refused", "error", "otherwise"}, (pair.command, usual, other)


@pytest.mark.parametrize("version", OTHERS)
def test_words_that_are_told_are_said(version: str, name: str) -> None:
    for pair in pairs(version, name):
        words = [
            match[1]
            for finding in pair.findings
            if (match := re.fullmatch("the error is '(.*)'", finding.why, re.S)) is not None
        ]
        # one that is refused as a whole, or is refused earlier, says nothing of it
        others = {finding.source for finding in pair.findings if finding.kind == "otherwise"}
        if words and not pair.diverged and not pair.kinds & {"refused"} and len(others) == 1:
            assert _desc(pair.other) in words, pair.command


@pytest.mark.parametrize("version", OTHERS)
def test_members_that_are_gone_are_told(version: str, name: str) -> None:
    for pair in pairs(version, name):
        if pair.diverged or "error" in pair.usual or "error" in pair.other:
            continue
        gone = _members(pair.usual) - _members(pair.other)
        told = " ".join(finding.why for finding in pair.findings)
        for member in gone:
            assert f".{member}" in told, (pair.command, member)


def _members(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for inner in value for name in _members(inner)}
    if isinstance(value, dict):
        return set(value) | {name for inner in value.values() for name in _members(inner)}
    return set()


def test_there_is_something_to_see() -> None:
    """Enough of each kind, so that the tests above are about something."""
    known = [pair for version in OTHERS for name in SESSIONS for pair in pairs(version, name)]
    kinds = [finding.kind for pair in known for finding in pair.findings]
    assert len(known) > 1000
    assert kinds.count("refused") > 20
    assert kinds.count("otherwise") > 50

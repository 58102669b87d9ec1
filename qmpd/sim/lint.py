"""What of a client's requests other versions of QEMU refuse, and what is deprecated in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, Literal, NamedTuple

from qmpd.base.ghash import first_unexpected
from qmpd.errors import CommandNotFound, QmpError
from qmpd.profile.profile import Profile
from qmpd.profile.shipped import VERSIONS, load, schema_path
from qmpd.qapi.compiler.entities import Command, Schema
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.visitor import InputVisitor

Kind = Literal["refused", "deprecated", "error"]

_REJECTING: Final = CompatPolicy(deprecated_input="reject")
_DISABLED: Final = " disabled by policy"


class Asked(NamedTuple):
    """A request.

    :param place: where it is: the line of a recording, the number of a journal's entry
    """

    place: int
    command: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a request.

    :param kind: ``refused``: versions refuse it; ``deprecated``: a part of it is, in
        versions; ``error``: all refuse it
    :param place: where it is: the line of a recording, the number of a journal's entry
    :param command: the command
    :param versions: the versions concerned, oldest first
    :param why: QEMU's text, or what is deprecated
    :param instead: of what is deprecated: what the schema says of it, and of what takes its place
    """

    kind: Kind
    place: int
    command: str
    versions: tuple[str, ...]
    why: str
    instead: str | None = None

    def __str__(self) -> str:
        told = {"refused": "refused by", "deprecated": "deprecated in", "error": "wrong in"}
        more = "" if self.instead is None else f" ({self.instead})"
        versions = _span(self.versions)
        return f"{self.place}: {self.command}: {told[self.kind]} {versions}: {self.why}{more}"


def _span(versions: Sequence[str]) -> str:
    first, last = versions[0], versions[-1]
    return first if first == last else f"{first} to {last}"


def between(oldest: str | None = None, newest: str | None = None) -> tuple[str, ...]:
    """The versions that qmpd has, from one to another.

    :raises ValueError: one of them is not among them, or they are the wrong way round
    """
    for version in (oldest, newest):
        if version is not None and version not in VERSIONS:
            raise ValueError(f"there is no version {version} (there are: {', '.join(VERSIONS)})")
    first = 0 if oldest is None else VERSIONS.index(oldest)
    last = len(VERSIONS) - 1 if newest is None else VERSIONS.index(newest)
    if first > last:
        raise ValueError(f"{oldest} is newer than {newest}")
    return VERSIONS[first : last + 1]


def lint(asked: Iterable[Asked], versions: Sequence[str] = VERSIONS) -> list[Finding]:
    """Look at requests; what is found about the same request in the same words is told once.

    :param versions: the versions that the client is to work with, oldest first
    """
    found: dict[tuple[Any, ...], Finding] = {}
    for request in asked:
        for finding in _about(request, versions):
            key = (finding.kind, finding.command, finding.versions, finding.why)
            found.setdefault(key, finding)
    return list(found.values())


def _about(request: Asked, versions: Sequence[str]) -> Iterator[Finding]:
    name, place = request.command, request.place
    refusals = {v: text for v in versions if (text := _refusal(load(v), request)) is not None}
    everywhere = len(refusals) == len(versions)
    for text, which in _grouped(refusals):
        yield Finding("error" if everywhere else "refused", place, name, which, text)
    if everywhere:
        return
    parts: dict[str, list[str]] = {}
    for version in versions:
        if version not in refusals:
            for part in _deprecated(load(version), request):
                parts.setdefault(part, []).append(version)
    for part, where in parts.items():
        yield Finding("deprecated", place, name, tuple(where), part, _advice(name, where[-1]))


def _grouped(texts: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Versions with the same text together."""
    by_text: dict[str, list[str]] = {}
    for version, text in texts.items():
        by_text.setdefault(text, []).append(version)
    for text, which in by_text.items():
        yield text, tuple(which)


def _refusal(profile: Profile, request: Asked, policy: CompatPolicy | None = None) -> str | None:
    """The words with which a version refuses a request as such; None if it does not."""
    info = profile.entry_points.commands.get(request.command)
    if info is None or request.command in profile.beyond or not _is_listed(profile, info.name):
        return profile.texts.command_not_found.format(name=request.command)
    if not info.gen:
        return None
    try:
        if policy is not None:
            policy.check_command(info)
        if info.arguments is not None:
            visitor = InputVisitor(profile.types, policy=policy)
            visitor.read(info.arguments, dict(request.arguments))
        elif request.arguments:
            return f"Parameter '{first_unexpected(request.arguments, ())}' is unexpected"
    except QmpError as error:
        return error.desc
    return None


@cache
def _listed(profile: Profile) -> frozenset[str]:
    from qmpd.profile.personality import Personality

    return frozenset(
        name for personality in Personality for name in profile.program(personality).commands
    )


def _is_listed(profile: Profile, name: str) -> bool:
    """Whether one of the programs has the command."""
    return name in _listed(profile)


def _deprecated(profile: Profile, request: Asked) -> Iterator[str]:
    """The parts of a request that are deprecated, the outermost first; one is found at a time."""
    info = profile.entry_points.commands[request.command]
    try:
        _REJECTING.check_command(info)
    except CommandNotFound:
        yield "the command"
        return
    text = _refusal(profile, request, _REJECTING)
    if text is not None and text.endswith(_DISABLED):
        yield text.removeprefix("Deprecated ").removesuffix(_DISABLED)


@cache
def _schema(version: str) -> Schema:
    return compile_schema(schema_path(), version)


def _advice(command: str, version: str) -> str | None:
    """What the schema says of what is deprecated in a command; None if it is said further in."""
    entity = _schema(version).entities[command]
    inner = entity.arguments if isinstance(entity, Command) else None
    for each in (entity, inner):
        doc = None if each is None else each.doc
        for section in () if doc is None else doc.sections:
            if (section.kind, section.name) == ("feature", "deprecated"):
                return " ".join(section.text.split())
    return None


def as_json(findings: Iterable[Finding]) -> str:
    """Findings as a JSON list of objects."""
    return json.dumps([asdict(finding) for finding in findings], indent=2) + "\n"


def as_sarif(findings: Iterable[Finding], file: str) -> str:
    """Findings as a SARIF 2.1.0 log, for programs that show such logs beside a file.

    :param file: the recording
    """
    levels = {"refused": "error", "deprecated": "warning", "error": "note"}
    results = [
        {
            "ruleId": finding.kind,
            "level": levels[finding.kind],
            "message": {"text": f"{finding.command} in {_span(finding.versions)}: {finding.why}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": file},
                        "region": {"startLine": finding.place},
                    }
                }
            ],
        }
        for finding in findings
    ]
    driver = {"name": "qmpd lint", "rules": [{"id": kind} for kind in levels]}
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2) + "\n"

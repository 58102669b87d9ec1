"""What versions refuse of a request by their schema, and what is deprecated in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from qmpd.base.ghash import first_unexpected
from qmpd.errors import CommandNotFound, QmpError
from qmpd.profile.personality import Personality
from qmpd.profile.profile import Profile
from qmpd.profile.shipped import load, schema_path
from qmpd.qapi.compiler.entities import Command, Schema
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.visitor import InputVisitor
from qmpd.sim.lint.finding import Finding, grouped
from qmpd.sim.lint.session import Asked, Session

_REJECTING: Final = CompatPolicy(deprecated_input="reject")
_DISABLED: Final = " disabled by policy"

EXIT_PRECONFIG: Final = "x-exit-preconfig"
"""What comes before this, where it succeeds, has come before the machine was made."""


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What is refused and what is deprecated."""
    requests = list(session.requests)
    ends = [number for number, asked in enumerate(requests) if _ends_preconfig(asked)]
    made = ends[0] if ends else -1
    for number, asked in enumerate(requests):
        yield from _about(asked, versions, early=number < made)


def _ends_preconfig(asked: Asked) -> bool:
    return asked.command == EXIT_PRECONFIG and asked.succeeded


def _about(asked: Asked, versions: Sequence[str], *, early: bool) -> Iterator[Finding]:
    name, place = asked.command, asked.place
    refusals = {
        version: text
        for version in versions
        if (text := refusal(load(version), asked, early=early)) is not None
    }
    everywhere = len(refusals) == len(versions)
    for text, which in grouped(refusals):
        yield Finding("error" if everywhere else "refused", place, name, which, text)
    if everywhere:
        return
    parts: dict[str, list[str]] = {}
    for version in versions:
        if version not in refusals:
            for part in _deprecated(load(version), asked):
                parts.setdefault(part, []).append(version)
    for part, where in parts.items():
        yield Finding("deprecated", place, name, tuple(where), part, _advice(name, where[-1]))


def refusal(
    profile: Profile, asked: Asked, policy: CompatPolicy | None = None, *, early: bool = False
) -> str | None:
    """The words with which a version refuses a request as such; None if it does not.

    What is looked at, and in which order, is QEMU's (`qmpd.monitor.qmp.dispatch`).

    :param early: whether it comes before the machine is made
    """
    texts, name = profile.texts, asked.command
    info = profile.entry_points.commands.get(name)
    if info is None and is_unknown(profile, name):
        return None
    if info is None or name in profile.beyond or name not in _listed(profile):
        return texts.command_not_found.format(name=name)
    if asked.oob and not info.allow_oob:
        return texts.oob_not_supported.format(name=name)
    if early and not info.allow_preconfig:
        return texts.not_in_preconfig.format(name=name)
    if not info.gen:
        return None
    arguments: Mapping[str, object] = asked.arguments
    try:
        if policy is not None:
            policy.check_command(info)
        if info.arguments is not None:
            visitor = InputVisitor(profile.types, policy=policy)
            visitor.read(info.arguments, dict(arguments))
        elif arguments:
            return f"Parameter '{first_unexpected(arguments, ())}' is unexpected"
    except QmpError as error:
        return error.desc
    return None


@cache
def _listed(profile: Profile) -> frozenset[str]:
    """The commands that one of the programs has."""
    return frozenset(
        name for personality in Personality for name in profile.program(personality).commands
    )


def is_unknown(profile: Profile, name: str) -> bool:
    """Whether there is such a command, but not in qmpd's schema: nothing is known of it.

    The lists of versions that were not measured may lack such names, those of the one that it
    behaves as do not.
    """
    return name in _unknown(profile) or name in _unknown(load(profile.behaves_as))


@cache
def _unknown(profile: Profile) -> frozenset[str]:
    return frozenset(
        name for personality in Personality for name in profile.program(personality).unknown
    )


def _deprecated(profile: Profile, asked: Asked) -> Iterator[str]:
    """The parts of a request that are deprecated, the outermost first; one is found at a time."""
    info = profile.entry_points.commands.get(asked.command)
    if info is None:
        return
    try:
        _REJECTING.check_command(info)
    except CommandNotFound:
        yield "the command"
        return
    text = refusal(profile, asked, _REJECTING)
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

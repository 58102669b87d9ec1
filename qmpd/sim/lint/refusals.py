"""What versions refuse of a request by their schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from qmpd.base.ghash import first_unexpected
from qmpd.errors import QmpError
from qmpd.profile.personality import Personality
from qmpd.profile.profile import Profile
from qmpd.profile.shipped import VERSIONS, load
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.visitor import InputVisitor
from qmpd.sim.lint.finding import Finding, grouped
from qmpd.sim.lint.session import Asked, Session

EXIT_PRECONFIG: Final = "x-exit-preconfig"
"""What comes before this, where it succeeds, has come before the machine was made."""


def found(session: Session, versions: Sequence[str]) -> Iterator[Finding]:
    """What is refused."""
    requests = list(session.requests)
    ends = [number for number, asked in enumerate(requests) if _ends_preconfig(asked)]
    made = ends[0] if ends else -1
    known: dict[tuple[str, bool], list[Finding]] = {}
    for number, asked in enumerate(requests):
        key = (asked.key, number < made)
        if key not in known:
            known[key] = list(_about(asked, versions, early=number < made))
        yield from (replace(finding, place=asked.place) for finding in known[key])


def _ends_preconfig(asked: Asked) -> bool:
    return asked.command == EXIT_PRECONFIG and asked.succeeded


def _about(asked: Asked, versions: Sequence[str], *, early: bool) -> Iterator[Finding]:
    name, place = asked.command, asked.place
    refusals = {
        version: text
        for version in versions
        if (text := refusal(load(version), asked, early=early)) is not None
    }
    everywhere = bool(refusals) and all(
        version in refusals or refusal(load(version), asked, early=early) is not None
        for version in VERSIONS
    )
    for text, which in grouped(refusals):
        yield Finding("error" if everywhere else "refused", place, name, which, text)


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


def is_refused(asked: Asked) -> bool:
    """Whether the error that was answered is about the request as such."""
    return asked.answer is not None and any(
        asked.answer.error == refusal(load(version), asked) for version in VERSIONS
    )


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

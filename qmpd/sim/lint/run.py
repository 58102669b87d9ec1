"""All kinds of findings about one session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from qmpd.profile.shipped import VERSIONS
from qmpd.sim.lint import deprecations, differences, ignored, needs, polls, refusals, ruled, waits
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.needs import Need
from qmpd.sim.lint.session import Session


def lint(
    session: Session, versions: Sequence[str] = VERSIONS, wanted: Iterable[Need] = ()
) -> list[Finding]:
    """Look at a session; what is found again in the same words is counted.

    :param versions: the versions that the client is to work with, oldest first
    :param wanted: the members that it needs
    """
    return counted([*needs.found(wanted, versions), *every(session, versions)])


def every(session: Session, versions: Sequence[str]) -> list[Finding]:
    """All that is found in a session, in its order."""
    about = [
        *refusals.found(session, versions),
        *deprecations.found(session, versions),
        *ruled.found(session, versions),
        *differences.found(session, versions),
        *ignored.found(session),
        *waits.found(session),
        *polls.found(session),
    ]
    return sorted(about, key=lambda finding: finding.place)


def counted(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that are the same but for their place, and of a rule but for their words, as one."""
    found: dict[tuple[Any, ...], Finding] = {}
    for finding in findings:
        first = found.setdefault(key_of(finding), finding)
        if first is not finding:
            found[key_of(finding)] = replace(first, times=first.times + finding.times)
    return list(found.values())


def key_of(finding: Finding) -> tuple[Any, ...]:
    """What findings have in common that are told as one."""
    words = finding.rule if finding.rule is not None else (finding.why, finding.source)
    return (finding.kind, finding.command, finding.versions, words)

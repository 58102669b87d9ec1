"""A finding, and the versions it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from qmpd.profile.shipped import VERSIONS

Kind = Literal["refused", "error", "otherwise", "deprecated", "ignored", "wait", "lacking"]
"""What a finding is: see `KINDS`."""

KINDS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        "refused": ("refused by", "versions refuse the request"),
        "lacking": ("lacking in", "versions lack what the client needs"),
        "ignored": ("error ignored", "the client goes on as if an error had not been"),
        "wait": ("may race", "the client does not wait for the event that tells"),
        "deprecated": ("deprecated in", "a part of the request is deprecated"),
        "otherwise": ("otherwise in", "versions answer otherwise"),
        "error": ("wrong in", "all versions that there are refuse the request"),
    }
)
"""The kinds, the gravest first: how a finding of one is begun, and what it tells."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a session.

    :param kind: what it is, see `KINDS`
    :param place: where it is: the line of a recording, the number of a journal's entry; of what is
        lacking the line of the list of needs
    :param command: the command (or event) concerned, or what is needed
    :param versions: the versions concerned, oldest first; none where it is so in all of them
    :param why: QEMU's text, or what is found
    :param instead: of what is deprecated: what the schema says of it, and of what takes its place
    :param source: who says so: a rule or a condition of the schema
    :param see: other places that belong to it
    :param rule: of what is found about the client: by which rule
    :param times: how often it was found
    """

    kind: Kind
    place: int
    command: str
    versions: tuple[str, ...]
    why: str
    instead: str | None = None
    source: str | None = None
    see: tuple[int, ...] = ()
    rule: str | None = None
    times: int = 1

    @property
    def text(self) -> str:
        """All of it but for its place, on one line."""
        told = KINDS[self.kind][0]
        head = f"{told} {span(self.versions)}" if self.versions else told
        notes = [note for note in (self.instead, self.source) if note is not None]
        if self.see:
            notes.append(f"see {', '.join(map(str, self.see))}")
        if self.times > 1:
            notes.append(f"{self.times} times")
        more = f" ({'; '.join(notes)})" if notes else ""
        return f"{self.command}: {head}: {self.why}{more}"

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def span(versions: Sequence[str]) -> str:
    """Versions in words: those that follow each other as ``first to last``."""
    runs: list[list[str]] = []
    for version in versions:
        if runs and VERSIONS.index(version) == VERSIONS.index(runs[-1][-1]) + 1:
            runs[-1].append(version)
        else:
            runs.append([version])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


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


def grouped(texts: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    """Versions with the same text together."""
    by_text: dict[str, list[str]] = {}
    for version, text in texts.items():
        by_text.setdefault(text, []).append(version)
    return [(text, tuple(which)) for text, which in by_text.items()]

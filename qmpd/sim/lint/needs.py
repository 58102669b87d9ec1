"""What a client needs to be told, by name, and the versions that do not tell it.

A need is a dotted path:

* ``blockdev-reopen``, ``BLOCK_EXPORT_DELETED``, ``BlockInfo``: a command, an event, a type
* ``query-block-jobs.return[].auto-finalize``: a member of an answer (``[]`` may be left out)
* ``blockdev-backup.discard-source``: an argument
* ``BLOCK_JOB_COMPLETED.data.error``: a member of an event's data
* ``BlockInfo.qdev``, ``JobStatus.concluded``: a member of a type, a value of an enum

A member of a union is one of its common members, or one of any of its branches.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from qmpd.profile.profile import Profile
from qmpd.profile.shipped import VERSIONS, load
from qmpd.qapi.runtime.type_table import (
    BUILTINS,
    AlternateInfo,
    EnumInfo,
    ObjectInfo,
    TypeTable,
    array_element,
)
from qmpd.sim.lint.conditions import condition
from qmpd.sim.lint.finding import Finding, grouped
from qmpd.sim.lint.refusals import is_unknown


class Need(NamedTuple):
    """Something that a client needs.

    :param place: the line of the list that has it
    :param path: what it is
    """

    place: int
    path: str


class _Lack(NamedTuple):
    """What a version does not have.

    :param why: in words
    :param of: the definition that would have it, and its name there; None: the definition itself
    """

    why: str
    of: tuple[str, str | None]


def read_needs(lines: Iterable[str]) -> list[Need]:
    """The needs in a list: one to a line, with comments after ``#``.

    :raises ValueError: no version has one of them; it says which
    """
    found = []
    for number, line in enumerate(lines, 1):
        path = line.partition("#")[0].strip()
        if path:
            _check(path, number)
            found.append(Need(number, path))
    return found


def read_needs_of(path: str) -> list[Need]:
    """The needs in a file.

    :raises ValueError: it cannot be read, or no version has one of them
    """
    try:
        with open(path, encoding="utf-8") as file:
            return read_needs(file)
    except OSError as error:
        raise ValueError(f"Could not open '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is no list of needs: it is no text") from None
    except ValueError as error:
        raise ValueError(f"'{path}', {error}") from None


def _check(path: str, number: int) -> None:
    lacks = [_lack(load(version), path) for version in VERSIONS]
    if not all(lacks):
        return
    lack = next(lack for lack in reversed(lacks) if lack is not None)
    raise ValueError(f"line {number}: no version has '{path}': {lack.why}{_hint(path)}")


def _hint(path: str) -> str:
    profile = load(VERSIONS[-1])
    name = path.partition(".")[0]
    known = {*profile.entry_points.commands, *profile.entry_points.events, *profile.types.names()}
    close = [] if name in known else difflib.get_close_matches(name, known)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def found(needs: Iterable[Need], versions: Sequence[str]) -> Iterator[Finding]:
    """The versions that lack what is needed."""
    for need in needs:
        lacks = {version: _lack(load(version), need.path) for version in versions}
        known = {version: lack for version, lack in lacks.items() if lack is not None}
        for why, which in grouped({version: lack.why for version, lack in known.items()}):
            source = condition(*known[which[0]].of)
            yield Finding("lacking", need.place, need.path, which, why, source=source)


def _lack(profile: Profile, path: str) -> _Lack | None:
    """What a version has not of a path; None if it has all of it."""
    name, *rest = path.replace("[]", "").split(".")
    commands, events = profile.entry_points.commands, profile.entry_points.events
    if name in commands and name not in profile.beyond:
        command = commands[name]
        if rest and rest[0] == "return":
            return _inside(profile.types, command.returns, rest[1:], f"the answer of {name}")
        return _inside(profile.types, command.arguments, rest, name)
    if name in events:
        return _inside(profile.types, events[name].arguments, rest[rest[:1] == ["data"] :], name)
    if name in profile.types:
        return _inside(profile.types, name, rest, name)
    if is_unknown(profile, name):
        return _Lack(f"qmpd's schema does not have '{name}'", (name, None)) if rest else None
    return _Lack(f"there is no '{name}'", (name, None))


def _inside(
    types: TypeTable, reference: str | None, rest: Sequence[str], whose: str
) -> _Lack | None:
    """What of the members `rest` is not in a type.

    :param whose: what has the type, for people
    """
    if not rest:
        return None
    name, *more = rest
    lack = _Lack(f"{whose} has no '{name}'", (reference or whose, name))
    for inner in _members(types, reference, name):
        further = _inside(types, inner, more, inner)
        if further is None:
            return None
        lack = further
    return lack


def _members(types: TypeTable, reference: str | None, name: str) -> Iterator[str]:
    """The types of the members called `name` of a type, and of what it may be."""
    while reference is not None and (element := array_element(reference)) is not None:
        reference = element
    info = None if reference is None or reference in BUILTINS else types.get(reference)
    match info:
        case EnumInfo() if name in info.values:
            yield "str"
        case AlternateInfo():
            for each in info.by_kind.values():
                yield from _members(types, each, name)
        case ObjectInfo():
            yield from (member.type for member in info.members if member.name == name)
            for branch in dict.fromkeys(info.branches.values()):
                local = types.object(branch)
                yield from (member.type for member in local.local if member.name == name)
                if local.tag is not None:
                    yield from _members(types, branch, name)

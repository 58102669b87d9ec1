"""What a rule is: how some versions of QEMU differ from the default one, and who says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

Release = tuple[int, int]

OLDEST: Final[Release] = (0, 0)
NEWEST: Final[Release] = (99, 0)


Words = str | Callable[[re.Match[str]], str]
"""A text with groups as ``\\1``, or what makes one."""


class Rewording(NamedTuple):
    """Other words for the same.

    :param pattern: the default version's words, a regular expression
    :param words: what they are replaced by, with groups as ``\\1``, or what makes it
    :param of: whether errors are reworded, or what the human monitor shows, complaints of the
        process among it
    :param error_class: the class of the error in these words, where it is another one
    :param command: the QMP command whose errors they are, where it is not any
    """

    pattern: str
    words: Words
    of: Literal["errors", "monitor"] = "errors"
    error_class: str | None = None
    command: str | None = None


class Completion(NamedTuple):
    """A member that the default version does not tell, or tells otherwise.

    :param type: the object type that has it
    :param member: its name
    :param value: makes it of the object's other members; None: it is left out
    """

    type: str
    member: str
    value: Callable[[Mapping[str, Any]], Any]


class MonitorNames(NamedTuple):
    """Commands that the human monitor knows where the rule holds, and nowhere else.

    :param names: their names, such as ``singlestep`` and ``info sgx``
    """

    names: frozenset[str]


class Touch(NamedTuple):
    """What of a session a rule concerns.

    :param path: a ``COMMAND``, or an argument as ``COMMAND.MEMBER.MEMBER``, where ``*`` is any one
    :param value: a regular expression that is found in the argument, a text or JSON
    :param answer: one that is found in the error that was answered, or in what the human monitor
        shows
    :param while_job: whether a job has to be at work
    """

    path: str
    value: str = ""
    answer: str = ""
    while_job: bool = False


def line(words: str, *, answer: str = "") -> Touch:
    """A line of the human monitor that begins with `words`, a regular expression."""
    return Touch("human-monitor-command.command-line", rf"^\s*(?:{words})(?!\S)", answer)


class Rule(NamedTuple):
    """What is otherwise in some versions.

    :param name: what it is asked for by
    :param what: what holds where the rule holds, in a sentence for people
    :param source: who says so: a run of the real programs, a commit, a release note
    :param first: the first version, of those measured, where it holds
    :param last: the last one
    :param change: what it does; None: who asks for it knows
    :param touches: what of a session it concerns, where neither `change` nor the schema says: a
        text is the path of a `Touch`
    """

    name: str
    what: str
    source: str
    first: Release = OLDEST
    last: Release = NEWEST
    change: Rewording | Completion | MonitorNames | None = None
    touches: tuple[str | Touch, ...] = ()

    def holds(self, release: Release) -> bool:
        """Whether it holds in `release`."""
        return self.first <= release <= self.last

"""The entries of the tables of HMP commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from qmpd.monitor.hmp.line import Parameter
from qmpd.qapi.runtime.type_table import EnumInfo

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


class Suspending(str):
    """What is shown by a command that goes on after that: a monitor for people waits for it.

    :param until: calls what it is given, once the command is over
    :param refusal: what is shown where nobody waits
    """

    until: Callable[[Callable[[], None]], None]
    refusal: str

    __slots__ = ("refusal", "until")

    def __new__(cls, text: str, until: Callable[[Callable[[], None]], None], refusal: str) -> Self:
        """Make one, as a text is made."""
        made = super().__new__(cls, text)
        made.until, made.refusal = until, refusal
        return made

    def with_line_ends(self) -> Self:
        """The same with CRLF at the ends of lines."""
        refusal = self.refusal.replace("\n", "\r\n")
        return type(self)(self.replace("\n", "\r\n"), self.until, refusal)


Arguments = Mapping[str, Any]
HmpHandler = Callable[["Machine", Arguments], Awaitable[str]]
ReadOptions = Callable[["Machine", str], Any]
Request = Callable[["Machine", Arguments], tuple[str, Mapping[str, Any]]]
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Runs a QMP command with its arguments; returns its value."""


@dataclass(frozen=True, slots=True)
class HmpCommand:
    """One command.

    :param name: its name, with a short name after a ``|``
    :param handler: returns the text to show, after `request` has been run where there is one;
        None: there is nothing to show
    :param parameters: how its arguments are read
    :param summary: what help shows
    :param request: the QMP command that it stands for, and its arguments
    :param show: words the value of that command
    :param options: reads an argument that is options of a group, while the line is read
    """

    name: str
    handler: HmpHandler | None
    parameters: tuple[Parameter, ...] = ()
    usage: str = ""
    summary: str = ""
    request: Request | None = None
    show: Callable[[Any], str] | None = None
    options: ReadOptions | None = None


def by_name(*commands: HmpCommand) -> dict[str, HmpCommand]:
    """A table of `commands` by name and short name."""
    return {name: command for command in commands for name in command.name.split("|")}


def with_same_arguments(command: str) -> Request:
    """A request whose arguments are the line's."""
    return lambda _, arguments: (command, dict(arguments))


def reported(machine: Machine, text: str) -> str:
    """What the monitor shows where an error is reported with `text` (``error_report``)."""
    rules = machine.profile.rules
    mark = "Error: " if rules.holds("errors-are-marked") else ""
    return mark + rules.words(text)


def enum_values(machine: Machine, enum: str) -> Collection[str]:
    """The values of one of QAPI's enumerations."""
    info = machine.profile.types[enum]
    assert isinstance(info, EnumInfo)
    return info.values

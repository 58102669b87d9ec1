"""The entries of the tables of HMP commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.monitor.hmp.line import Parameter

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

Arguments = Mapping[str, Any]
HmpHandler = Callable[["Machine", Arguments], Awaitable[str]]
Request = Callable[["Machine", Arguments], tuple[str, Mapping[str, Any]]]
Ask = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Runs a QMP command with its arguments."""


@dataclass(frozen=True, slots=True)
class HmpCommand:
    """One command.

    :param name: its name, with a short name after a ``|``
    :param handler: returns the text to show; None if it stands for a QMP command
    :param parameters: how its arguments are read
    :param summary: what help shows
    :param request: the QMP command that it stands for, and its arguments
    """

    name: str
    handler: HmpHandler | None
    parameters: tuple[Parameter, ...] = ()
    usage: str = ""
    summary: str = ""
    request: Request | None = None


def by_name(*commands: HmpCommand) -> dict[str, HmpCommand]:
    """A table of `commands` by name and short name."""
    return {name: command for command in commands for name in command.name.split("|")}

"""What the tables of HMP commands hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.hmp.line import Parameter

if TYPE_CHECKING:
    from qmpd.machine import Machine

Arguments = Mapping[str, Any]
HmpHandler = Callable[["Machine", Arguments], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class HmpCommand:
    """One command.

    :param name: its name, and its short one after a ``|``
    :param parameters: how its arguments are read
    :param summary: how help shows the arguments, and what it does
    """

    name: str
    handler: HmpHandler
    parameters: tuple[Parameter, ...] = ()
    usage: str = ""
    summary: str = ""


def by_name(*commands: HmpCommand) -> dict[str, HmpCommand]:
    """`commands` under each of their names."""
    return {name: command for command in commands for name in command.name.split("|")}

"""The human monitor, whose commands may be those of QMP."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from qmpd.monitor.qmp.handlers import Context
from qmpd.profile.models.command_table import COMMANDS

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


async def run_line(machine: Machine, line: str) -> str:
    """Run one line of the human monitor; returns what it shows there, lines ending in CRLF."""
    from qmpd.monitor import hmp

    async def ask(name: str, arguments: Mapping[str, Any]) -> None:
        await _ask(machine, name, arguments)

    return await hmp.run(machine, line, ask)


async def _ask(machine: Machine, name: str, arguments: Mapping[str, Any]) -> None:
    """Run a QMP command that no client of QMP has asked for: no policy holds it up.

    :raises QmpError: it fails
    """
    from qmpd.monitor.qmp.served import SERVED
    from qmpd.qapi.runtime.arguments import read_arguments
    from qmpd.qapi.runtime.policy import CompatPolicy

    model = read_arguments(COMMANDS[name], dict(arguments), policy=CompatPolicy())
    value = SERVED[name](Context(machine, None, arguments), model)
    if isawaitable(value):
        await value

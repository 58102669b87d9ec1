"""The human monitor, whose commands may be those of QMP."""

from __future__ import annotations

from collections.abc import Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.monitor.syncing import SYNCS, run_syncing
from qmpd.qapi.runtime.policy import CompatPolicy

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.monitor.descriptors import Descriptors


async def run_line(
    machine: Machine, handlers: Handlers, line: str, descriptors: Descriptors
) -> str:
    """Run one line of the human monitor; returns what it shows there, lines ending in CRLF.

    :param handlers: those of the commands of QMP that HMP commands stand for
    :param descriptors: what the clients of the monitor have handed over
    """
    from qmpd.monitor import hmp

    async def ask(name: str, arguments: Mapping[str, Any]) -> Any:
        return await _ask(machine, handlers, name, arguments, descriptors)

    return await hmp.run(machine, line, ask)


async def _ask(
    machine: Machine,
    handlers: Handlers,
    name: str,
    arguments: Mapping[str, Any],
    descriptors: Descriptors,
) -> Any:
    """Run a QMP command that no client of QMP has asked for: no policy holds it up.

    :returns: its value

    :raises QmpError: it fails
    """
    info = machine.profile.entry_points.commands[name]
    model = machine.profile.reader.arguments(info, dict(arguments))
    value = handlers[name](Context(machine, handlers, None, arguments, descriptors), model)
    if isinstance(value, CoroutineType):
        if name in SYNCS:
            value = run_syncing(machine, name, arguments, value)
        value = await value
    if value is None or info.returns is None or not machine.profile.trims_output:
        return value
    from qmpd.qapi.runtime.hiding import shown

    profile = machine.profile
    return shown(CompatPolicy(), profile.types, info.returns, value, profile.rules.complete)

"""From a request to its reply's value: every check after parsing, in QEMU's order."""

from __future__ import annotations

from inspect import isawaitable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from qmpd.errors import CommandNotFound, GenericError, NotServed
from qmpd.monitor.qmp.handlers import Context
from qmpd.monitor.qmp.served import SERVED
from qmpd.profile.models.command_table import COMMANDS
from qmpd.profile.personality import offers
from qmpd.qapi.runtime.policy import Crash
from qmpd.wire.encode import Raw

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.qapi.runtime.metadata import CommandInfo
    from qmpd.wire.session import Request, Session


async def dispatch(machine: Machine, session: Session, request: Request) -> Any:
    """Run `request` and return the value of its reply, ``{}`` where it returns nothing.

    The order of the checks is that of QEMU's qmp_dispatch: negotiation, lookup,
    compat policy, OOB, preconfig, arguments, then the command itself.

    :raises QmpError: whatever the client is to be told
    """
    name = request.command
    session.check_command(name)
    info = COMMANDS.get(name)
    if info is None or not offers(machine.personality, name):
        raise CommandNotFound(f"The command {name} has not been found")
    try:
        machine.compat.check_command(info)
        if request.oob and not info.allow_oob:
            raise GenericError(f"The command {name} does not support OOB")
        if machine.in_preconfig and not info.allow_preconfig:
            raise GenericError(
                f"The command '{name}' is permitted only after machine initialization has completed"
            )
        arguments = _arguments(machine, info, request.arguments)
    except Crash:
        machine.host.abort()
        raise
    handler = SERVED.get(name)
    if handler is None:
        raise NotServed(f"The command {name} is not served by qmpd yet")
    value = handler(Context(machine, session, request.arguments or {}), arguments)
    if isawaitable(value):
        value = await value
    if value is None:
        return {}
    if machine.compat.restricts_output and info.returns is not None and not isinstance(value, Raw):
        return machine.compat.hide_output(info.returns, value)
    return value


def _arguments(machine: Machine, info: CommandInfo, arguments: dict[str, object] | None) -> object:
    if not info.gen:
        return arguments or {}
    # pydantic is not imported before the first command with arguments
    if not arguments and info.arguments is None:
        return None
    if not arguments and info.optional:
        return SimpleNamespace(**dict.fromkeys(info.optional))
    from qmpd.qapi.runtime.arguments import read_arguments

    return read_arguments(info, arguments, policy=machine.compat)

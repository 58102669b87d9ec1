"""From a request to its reply's value: every check after parsing, in QEMU's order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import CoroutineType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from qmpd.errors import CommandNotFound, GenericError, NotServed, QmpError
from qmpd.loop.apart import outcome
from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.monitor.syncing import SYNCS, run_syncing
from qmpd.qapi.runtime.policy import Crash
from qmpd.wire.encode import Raw

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.monitor.descriptors import Descriptors
    from qmpd.profile import Profile
    from qmpd.qapi.runtime.entry_points import CommandInfo
    from qmpd.qapi.runtime.policy import CompatPolicy
    from qmpd.wire.session import Request, Session


async def dispatch(
    machine: Machine,
    handlers: Handlers,
    descriptors: Descriptors,
    session: Session,
    request: Request,
    given: Callable[[], object] | None = None,
) -> Any:
    """Run `request` and return the value of its reply, ``{}`` where it returns nothing.

    The machine's profile says which commands there are; those without a handler are refused.

    The order of the checks is that of QEMU's qmp_dispatch: negotiation, lookup,
    compat policy, OOB, preconfig, arguments, then the command itself.

    :param descriptors: what the clients of the monitor have handed over
    :param given: returns the arguments, or raises what is wrong with them; they are read here if
        absent
    :raises QmpError: whatever the client is to be told
    """
    name = request.command
    session.check_command(name)
    profile = machine.profile
    info = profile.program(machine.personality).commands.get(name)
    if info is None:
        raise CommandNotFound(profile.texts.command_not_found.format(name=name))
    try:
        machine.compat.check_command(info)
        if request.oob and not info.allow_oob:
            raise GenericError(profile.texts.oob_not_supported.format(name=name))
        if machine.in_preconfig and not info.allow_preconfig:
            raise GenericError(profile.texts.not_in_preconfig.format(name=name))
        if given is None:
            arguments = read_arguments(profile, info, request.arguments, machine.compat)
        else:
            arguments = given()
    except Crash:
        machine.host.abort()
        raise
    handler = handlers.get(name)
    if handler is None:
        raise NotServed(f"The command {name} is not served by qmpd yet")
    if request.arguments and info.gen and profile.trims_output:
        _refuse_unserved(profile, info, request.arguments)
    context = Context(machine, handlers, session, request.arguments or {}, descriptors)
    try:
        value = handler(context, arguments)
        if isinstance(value, CoroutineType):
            if name in SYNCS:
                value = run_syncing(machine, name, context.raw, value)
            value = await value
    except QmpError as error:
        raise profile.rules.in_its_words(error, name) from error.__cause__
    if value is None:
        return {}
    if info.returns is None or isinstance(value, Raw):
        return value
    if machine.compat.restricts_output or profile.trims_output:
        return _shown(machine, info.returns, value)
    return value


def _shown(machine: Machine, type_name: str, value: object) -> Any:
    """What of `value` the policy and the version let a client see."""
    from qmpd.qapi.runtime.hiding import shown

    profile = machine.profile
    complete = profile.rules.complete if profile.trims_output else None
    return shown(machine.compat, profile.types, type_name, value, complete)


def _refuse_unserved(profile: Profile, info: CommandInfo, arguments: dict[str, object]) -> None:
    """Refuse what only another version than the default one knows, and no handler serves.

    :raises NotServed: there is something
    """
    from qmpd.profile.shipped import load
    from qmpd.profile.unserved import unserved

    if info.arguments is not None and info.name in load().entry_points.commands:
        for holder, name in unserved(profile.types, load().types, info.arguments, arguments):
            raise NotServed(f"'{name}' of {holder} is not served by qmpd yet")


async def dispatch_large(
    machine: Machine,
    handlers: Handlers,
    descriptors: Descriptors,
    session: Session,
    request: Request,
) -> Any:
    """Run a request with many arguments: they are read while others have their turn.

    The parameters, the value and the errors are those of `dispatch`.
    """
    profile = machine.profile
    info = profile.program(machine.personality).commands.get(request.command)
    given: Callable[[], object] | None = None
    if info is not None:
        read = partial(read_arguments, profile, info, request.arguments, machine.compat)
        given = await machine.host.apart.do(partial(outcome, read))
    return await dispatch(machine, handlers, descriptors, session, request, given)


def read_arguments(
    profile: Profile,
    info: CommandInfo,
    arguments: dict[str, object] | None,
    policy: CompatPolicy | None = None,
) -> object:
    """The arguments of a command as its handler takes them: see `qmpd.monitor.qmp.handlers`.

    :param arguments: the request's; None when it has none
    :raises GenericError: QEMU's text for the first problem
    """
    if not info.gen:
        return arguments or {}
    # pydantic is not imported before the first command with arguments
    if not arguments and info.arguments is None:
        return None
    if not arguments and info.optional:
        return SimpleNamespace(**dict.fromkeys(info.optional))
    return profile.reader.arguments(info, arguments, policy=policy)

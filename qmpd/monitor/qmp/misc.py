"""Commands of schema module misc: names, threads, stop and cont, HMP, file descriptors."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import DeviceNotActive, GenericError
from qmpd.machine.objects import IOThread
from qmpd.monitor.descriptors import Descriptors
from qmpd.monitor.human import run_line
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.misc import (
        AddClientArguments,
        AddFdArguments,
        ClosefdArguments,
        GetfdArguments,
        HumanMonitorCommandArguments,
        QueryCommandLineOptionsArguments,
        RemoveFdArguments,
    )


def query_name(context: Context, _: None) -> dict[str, object]:
    """Name of the guest, where it has one."""
    name = context.machine.name
    return {} if name is None else {"name": name}


def query_iothreads(context: Context, _: None) -> list[dict[str, object]]:
    """All iothread objects with their parameters (nanoseconds)."""
    return [thread.info() for thread in context.machine.objects.of_type(IOThread)]


async def stop(context: Context, _: None) -> None:
    """Pause the guest."""
    await context.machine.stop()


async def cont(context: Context, _: None) -> None:
    """Let the guest run."""
    await context.machine.cont()


def x_exit_preconfig(context: Context, _: None) -> None:
    """Go on from ``--preconfig``."""
    context.machine.exit_preconfig()


async def human_monitor_command(context: Context, arguments: HumanMonitorCommandArguments) -> str:
    """Run one line of the human monitor and return what it prints there."""
    index = arguments.cpu_index
    if index is not None and not 0 <= index < context.machine.cpus:
        raise GenericError("Parameter 'cpu-index' expects a CPU number")
    # HMP has a monitor of its own here (`qmp_human_monitor_command`), to which nobody hands over
    # anything
    line = arguments.command_line
    context.machine.guest_side.hmp_cpu = index or 0
    try:
        text = await run_line(context.machine, context.handlers, line, Descriptors())
    finally:
        context.machine.guest_side.hmp_cpu = 0
    return getattr(text, "refusal", text)


def getfd(context: Context, arguments: GetfdArguments) -> None:
    """Keep the descriptor that came with the request, under a name."""
    descriptors = context.descriptors
    descriptors.add(arguments.fdname, descriptors.received())


def add_client(context: Context, arguments: AddClientArguments) -> None:
    """Hand a client's connection to what speaks `protocol` (``qmp_add_client``)."""
    descriptor = context.descriptors.take(arguments.fdname)
    assert descriptor.number is not None
    if not stat.S_ISSOCK(os.fstat(descriptor.number).st_mode):
        descriptor.close()
        raise GenericError("parameter @fdname must name a socket")
    if arguments.protocol == "vnc":
        # with no VNC server QEMU says that all is well, and nobody ever serves the client
        context.machine.guest_side.keep(descriptor)
        return
    try:
        if arguments.protocol in _NOT_IN_USE:
            raise DeviceNotActive(f"{_NOT_IN_USE[arguments.protocol]} is not in use")
        context.machine.host.chardevs.add_client(arguments.protocol, descriptor)
    finally:
        descriptor.close()


_NOT_IN_USE: Final = {"spice": "SPICE", "@dbus-display": "D-Bus display"}
"""Protocols of displays, which a machine of qmpd does not have."""


def closefd(context: Context, arguments: ClosefdArguments) -> None:
    """Close a descriptor that getfd has named."""
    context.descriptors.close(arguments.fdname)


def add_fd(context: Context, arguments: AddFdArguments) -> dict[str, int | None]:
    """Put the descriptor that came with the request into a set."""
    descriptor = context.descriptors.received()
    fdsets = context.machine.services.storage.fdsets
    return fdsets.add(descriptor, arguments.fdset_id, arguments.opaque)


def remove_fd(context: Context, arguments: RemoveFdArguments) -> None:
    """Take descriptors out of a set."""
    context.machine.services.storage.fdsets.remove(arguments.fdset_id, arguments.fd)


def query_fdsets(context: Context, _: None) -> list[dict[str, Any]]:
    """All descriptor sets."""
    return context.machine.services.storage.fdsets.query()


def query_command_line_options(
    context: Context, arguments: QueryCommandLineOptionsArguments
) -> list[dict[str, Any]]:
    """The groups of options of the real program, as recorded; maybe only one."""
    known = context.machine.profile.recorded(context.machine.personality).options
    if arguments.option is None:
        return known
    found = [group for group in known if group["option"] == arguments.option]
    if not found:
        raise GenericError(f"invalid option name: {arguments.option}")
    return found


HANDLERS: Final[Handlers] = {
    "add_client": add_client,
    "query-name": query_name,
    "query-iothreads": query_iothreads,
    "stop": stop,
    "cont": cont,
    "x-exit-preconfig": x_exit_preconfig,
    "human-monitor-command": human_monitor_command,
    "getfd": getfd,
    "closefd": closefd,
    "add-fd": add_fd,
    "remove-fd": remove_fd,
    "query-fdsets": query_fdsets,
    "query-command-line-options": query_command_line_options,
}

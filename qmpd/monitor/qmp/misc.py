"""Commands of schema module misc: names, threads, stop and cont, HMP, file descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError
from qmpd.machine.objects import IOThread
from qmpd.monitor.human import run_line
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.misc import HumanMonitorCommandArguments


def query_name(context: Context, _: None) -> dict[str, object]:
    """Name of the guest, where it has one."""
    name = context.machine.name
    return {} if name is None else {"name": name}


def query_iothreads(context: Context, _: None) -> list[dict[str, object]]:
    """All iothread objects with their parameters (nanoseconds)."""
    return [
        {
            "id": thread.id,
            "thread-id": thread.thread_id,
            "poll-max-ns": thread.parameters.poll_max_ns,
            "poll-grow": thread.parameters.poll_grow,
            "poll-shrink": thread.parameters.poll_shrink,
            "aio-max-batch": thread.parameters.aio_max_batch,
        }
        for thread in context.machine.objects.of_type(IOThread)
    ]


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
    return await run_line(context.machine, context.handlers, arguments.command_line)


HANDLERS: Final[Handlers] = {
    "query-name": query_name,
    "query-iothreads": query_iothreads,
    "stop": stop,
    "cont": cont,
    "x-exit-preconfig": x_exit_preconfig,
    "human-monitor-command": human_monitor_command,
}

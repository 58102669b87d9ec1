"""Commands of schema module sim-fault: what is to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.base.scalars import decimal_number
from qmpd.errors import GenericError
from qmpd.sim.control.binary import read_base64
from qmpd.sim.control.context import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.control.models.sim_fault import (
        XSimFaultCommandArguments,
        XSimFaultConnectionArguments,
        XSimFaultFailArguments,
        XSimFaultRemoveArguments,
    )
    from qmpd.sim.faults.fault import Fault


def _info(fault: Fault) -> dict[str, Any]:
    """SimFault."""
    return {"id": fault.id, "hits": fault.hits, "what": dict(fault.what)}


def query_faults(context: Context, _: None) -> list[dict[str, Any]]:
    """The faults that are installed."""
    return [_info(fault) for fault in context.bench.faults]


def fault_remove(context: Context, arguments: XSimFaultRemoveArguments) -> list[dict[str, Any]]:
    """Take faults out."""
    installed = list(context.bench.faults)
    wanted = arguments.id
    chosen = [fault for fault in installed if wanted is None or fault.id == wanted]
    if wanted is not None and not chosen:
        known = ", ".join(fault.id for fault in installed) or "none"
        raise LookupError(f"there is no fault '{wanted}' (faults: {known})")
    for fault in chosen:
        fault.remove()
    return [_info(fault) for fault in chosen]


def fault_fail(context: Context, arguments: XSimFaultFailArguments) -> dict[str, Any]:
    """Have requests fail."""
    errno = arguments.errno
    fault = context.bench.faults.fail(
        arguments.operation,
        node=arguments.node,
        file=arguments.file,
        offset=arguments.offset,
        length=arguments.length,
        skip=arguments.skip or 0,
        count=arguments.count,
        error=decimal_number(errno) if errno is not None and errno.isdecimal() else errno,
        delay=arguments.delay,
        short=arguments.short,
        corrupt=arguments.corrupt,
        later=bool(arguments.later),
    )
    return _info(fault)


def fault_command(context: Context, arguments: XSimFaultCommandArguments) -> dict[str, Any]:
    """Have calls of a command fail."""
    error: tuple[str, str] | str | None = arguments.error
    if arguments.error_class is not None:
        if arguments.error is None:
            raise GenericError("Parameter 'error' is missing")
        error = (arguments.error_class, arguments.error)
    fault = context.bench.faults.command(
        arguments.name,
        nth=arguments.nth,
        error=error,
        delay=arguments.delay,
        lose_answer=bool(arguments.lose_answer),
    )
    return _info(fault)


def fault_connection(context: Context, arguments: XSimFaultConnectionArguments) -> dict[str, Any]:
    """Have something happen to connections."""
    data: bytes | str | None = arguments.data
    if arguments.bytes is not None:
        if data is not None:
            raise GenericError("Parameters 'data' and 'bytes' are mutually exclusive")
        data = read_base64("bytes", arguments.bytes)
    fault = context.bench.faults.connection(
        arguments.action,
        monitor=arguments.monitor,
        nbd=bool(arguments.nbd),
        direction=arguments.direction,
        nth=arguments.nth,
        count=arguments.count,
        message=arguments.message,
        byte=arguments.byte,
        data=data,
        size=arguments.size,
        seconds=arguments.seconds,
        event=arguments.event,
        after=arguments.after,
    )
    return _info(fault)


HANDLERS: Final[Handlers] = {
    "x-sim-query-faults": query_faults,
    "x-sim-fault-remove": fault_remove,
    "x-sim-fault-fail": fault_fail,
    "x-sim-fault-command": fault_command,
    "x-sim-fault-connection": fault_connection,
}

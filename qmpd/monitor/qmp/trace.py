"""Commands of schema module trace: which of the real program's trace events are switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from collections.abc import Collection

    from qmpd.profile.models.trace import (
        TraceEventGetStateArguments,
        TraceEventSetStateArguments,
    )


def get_state(context: Context, arguments: TraceEventGetStateArguments) -> list[dict[str, Any]]:
    """The events that a name or a pattern means, the last one first."""
    events = context.machine.guest_side.trace_events
    processor, _ = _processor(context, arguments.vcpu)
    return events.query(arguments.name, processor)


def set_state(context: Context, arguments: TraceEventSetStateArguments) -> None:
    """Switch events on or off."""
    events = context.machine.guest_side.trace_events
    unavailable = bool(arguments.ignore_unavailable)
    name, enable = arguments.name, arguments.enable
    processor, present = _processor(context, arguments.vcpu)
    if processor is None:
        events.set(name, enable=enable, ignore_unavailable=unavailable)
    else:
        events.set_of(processor, name, present, enable=enable, ignore_unavailable=unavailable)


def _processor(context: Context, vcpu: int | None) -> tuple[int | None, Collection[int]]:
    """The processor that is meant, None for all (as always since 9.1), and all that there are.

    :raises GenericError: there is none with that number
    """
    if vcpu is None:
        return None, ()
    number = vcpu % (1 << 32)
    present = context.machine.devices.processors.numbers.values()
    if number not in present:
        raise GenericError(f"invalid vCPU index {number}")
    return number, present


HANDLERS: Final[Handlers] = {
    "trace-event-get-state": get_state,
    "trace-event-set-state": set_state,
}

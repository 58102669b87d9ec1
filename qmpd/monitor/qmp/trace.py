"""Commands of schema module trace: which of the real program's trace events are switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.machine.tracing import chosen_processor, set_trace_events
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.trace import (
        TraceEventGetStateArguments,
        TraceEventSetStateArguments,
    )


def get_state(context: Context, arguments: TraceEventGetStateArguments) -> list[dict[str, Any]]:
    """The events that a name or a pattern means, the last one first."""
    events = context.machine.guest_side.trace_events
    processor, _ = chosen_processor(context.machine, arguments.vcpu)
    return events.query(arguments.name, processor)


def set_state(context: Context, arguments: TraceEventSetStateArguments) -> None:
    """Switch events on or off."""
    set_trace_events(
        context.machine,
        arguments.name,
        arguments.vcpu,
        enable=arguments.enable,
        ignore_unavailable=bool(arguments.ignore_unavailable),
    )


HANDLERS: Final[Handlers] = {
    "trace-event-get-state": get_state,
    "trace-event-set-state": set_state,
}

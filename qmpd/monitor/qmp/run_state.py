"""Commands of schema module run-state: what the guest is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import NotServed
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.run_state import SetActionArguments


def query_status(context: Context, _: None) -> dict[str, object]:
    """Run state of the guest."""
    machine = context.machine
    return {"running": machine.running, "status": machine.run_state.value}


def set_action(context: Context, arguments: SetActionArguments) -> None:
    """Say what is done about events of the guest.

    :raises NotServed: for a watchdog, which no machine of qmpd has
    """
    if arguments.watchdog is not None:
        raise NotServed("Watchdogs are not served by qmpd")
    actions = context.machine.actions
    if arguments.reboot is not None:
        actions.reboot = arguments.reboot
    if arguments.shutdown is not None:
        actions.shutdown = arguments.shutdown
    if arguments.panic is not None:
        actions.panic = arguments.panic


HANDLERS: Final[Handlers] = {
    "query-status": query_status,
    "set-action": set_action,
}

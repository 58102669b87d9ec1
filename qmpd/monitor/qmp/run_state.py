"""Commands of schema module run-state: what the guest is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.run_state import (
        SetActionArguments,
        WatchdogSetActionArguments,
    )


def query_status(context: Context, _: None) -> dict[str, object]:
    """Run state of the guest."""
    machine = context.machine
    return {"running": machine.running, "status": machine.run_state.value}


def set_action(context: Context, arguments: SetActionArguments) -> None:
    """Say what is done about events of the guest."""
    actions = context.machine.actions
    if arguments.reboot is not None:
        actions.reboot = arguments.reboot
    if arguments.shutdown is not None:
        actions.shutdown = arguments.shutdown
    if arguments.panic is not None:
        actions.panic = arguments.panic
    if arguments.watchdog is not None:
        actions.watchdog = arguments.watchdog


def watchdog_set_action(context: Context, arguments: WatchdogSetActionArguments) -> None:
    """Say what is done when a watchdog expires."""
    context.machine.actions.watchdog = arguments.action


HANDLERS: Final[Handlers] = {
    "query-status": query_status,
    "set-action": set_action,
    "watchdog-set-action": watchdog_set_action,
}

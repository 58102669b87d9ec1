"""Commands of schema module run-state: what the guest is doing."""

from __future__ import annotations

from qmpd.monitor.qmp.handlers import CommandTable, Context

RUN_STATE = CommandTable()


@RUN_STATE.command("query-status")
def query_status(context: Context, _: None) -> dict[str, object]:
    """Run state of the guest."""
    machine = context.machine
    return {"running": machine.running, "status": machine.run_state.value}

"""Commands of schema module run-state: what the guest is doing."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.qmp.handlers import Context, Handlers


def query_status(context: Context, _: None) -> dict[str, object]:
    """Run state of the guest."""
    machine = context.machine
    return {"running": machine.running, "status": machine.run_state.value}


HANDLERS: Final[Handlers] = {
    "query-status": query_status,
}

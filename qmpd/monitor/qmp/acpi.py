"""The command of schema module acpi."""

from __future__ import annotations

from typing import Any, Final

from qmpd.errors import GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers


def query_ospm_status(context: Context, _: None) -> list[dict[str, Any]]:
    """The slots for memory, of which no guest has said anything."""
    board = context.machine.devices.board
    if not board.sleeps:
        raise GenericError("command is not supported, missing ACPI device")
    return [
        {"slot": str(number), "slot-type": "DIMM", "source": 0, "status": 0}
        for number in range(board.memory_slots)
    ]


HANDLERS: Final[Handlers] = {
    "query-acpi-ospm-status": query_ospm_status,
}

"""The command of schema module introspect."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from qmpd.monitor.qmp.handlers import CommandTable, Context
from qmpd.profile.personality import Personality, known_commands
from qmpd.wire.encode import Raw

if TYPE_CHECKING:
    from qmpd.qapi.runtime.policy import CompatPolicy

INTROSPECT = CommandTable()

EVENTS: Final = {
    Personality.SYSTEM: frozenset(
        {"POWERDOWN", "RESET", "RESUME", "SHUTDOWN", "STOP"}
        | {"BLOCK_IMAGE_CORRUPTED", "BLOCK_WRITE_THRESHOLD", "JOB_STATUS_CHANGE"}
    ),
    Personality.STORAGE_DAEMON: frozenset(
        {"BLOCK_IMAGE_CORRUPTED", "BLOCK_WRITE_THRESHOLD", "JOB_STATUS_CHANGE"}
    ),
}
"""The events that a machine can emit."""


@INTROSPECT.command("query-qmp-schema")
def query_qmp_schema(context: Context, _: None) -> Raw:
    """The schema of all that is served, types masked as QEMU masks them."""
    return _schema(context.machine.personality, context.machine.compat)


@lru_cache(maxsize=8)
def _schema(personality: Personality, policy: CompatPolicy) -> Raw:
    from qmpd.monitor.qmp.served import SERVED
    from qmpd.qapi.runtime.introspection import schema_infos

    names = [name for name in known_commands(personality) if name in SERVED]
    return Raw(schema_infos(None, names, EVENTS[personality], policy))

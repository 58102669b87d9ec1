"""The command of schema module introspect."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.wire.encode import Raw

if TYPE_CHECKING:
    from qmpd.profile import Profile
    from qmpd.qapi.runtime.policy import CompatPolicy


def query_qmp_schema(context: Context, _: None) -> Raw:
    """The schema of the commands served and of the program's events, types masked as in QEMU."""
    machine = context.machine
    program = machine.profile.program(machine.personality)
    served = frozenset(name for name in program.commands if name in context.handlers)
    return _schema(machine.profile, served.union(program.events), machine.compat)


@lru_cache(maxsize=8)
def _schema(profile: Profile, names: frozenset[str], policy: CompatPolicy) -> Raw:
    from qmpd.qapi.runtime.introspection import schema_infos

    listed = (entry_point for entry_point in profile.entry_points if entry_point.name in names)
    return Raw(schema_infos(profile.types, listed, policy))


HANDLERS: Final[Handlers] = {
    "query-qmp-schema": query_qmp_schema,
}

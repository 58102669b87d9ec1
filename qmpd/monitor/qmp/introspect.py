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
    served = {name for name in program.commands if name in context.handlers}.union(program.events)
    order = program.listed or [entry_point.name for entry_point in machine.profile.entry_points]
    names = tuple(name for name in order if name in served)
    return _schema(machine.profile, names, machine.compat)


@lru_cache(maxsize=8)
def _schema(profile: Profile, names: tuple[str, ...], policy: CompatPolicy) -> Raw:
    from qmpd.qapi.runtime.introspection import schema_infos

    known = {entry_point.name: entry_point for entry_point in profile.entry_points}
    return Raw(schema_infos(profile.types, (known[name] for name in names), policy))


HANDLERS: Final[Handlers] = {
    "query-qmp-schema": query_qmp_schema,
}

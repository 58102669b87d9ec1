"""What every QMP monitor has: negotiation, and what it tells of itself."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from qmpd.profile.shipped import load_control
from qmpd.sim.control.context import Context, Handlers
from qmpd.sim.control.served import MODULES
from qmpd.wire.encode import Raw

if TYPE_CHECKING:
    from qmpd.profile.control.models.control import QmpCapabilitiesArguments


def qmp_capabilities(context: Context, arguments: QmpCapabilitiesArguments | None) -> None:
    """Leave negotiation mode, with the capabilities the client enables."""
    enable = None if arguments is None else arguments.enable
    context.session.negotiate(enable or ())


def query_version(context: Context, _: None) -> dict[str, object]:
    """Version of QEMU that the machine passes for; the package names qmpd."""
    profile = context.bench.machine.profile
    return {"qemu": profile.version._asdict(), "package": profile.package}


def query_commands(context: Context, _: None) -> list[dict[str, object]]:
    """All commands of the control monitor."""
    return [{"name": name} for names in MODULES.values() for name in names]


def query_qmp_schema(context: Context, _: None) -> Raw:
    """The schema of these commands."""
    return _schema()


@cache
def _schema() -> Raw:
    from qmpd.qapi.runtime.introspection import schema_infos
    from qmpd.qapi.runtime.policy import CompatPolicy

    profile = load_control()
    served = {name for names in MODULES.values() for name in names}
    listed = (info for info in profile.entry_points if info.name in served)
    return Raw(schema_infos(profile.types, listed, CompatPolicy()))


HANDLERS: Final[Handlers] = {
    "qmp_capabilities": qmp_capabilities,
    "query-version": query_version,
    "query-commands": query_commands,
    "query-qmp-schema": query_qmp_schema,
}

"""What may be set of migrations in a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.machine.migration.capabilities import Capabilities
from qmpd.machine.migration.parameters import Parameters
from qmpd.qapi.runtime.type_table import EnumInfo, ObjectInfo

if TYPE_CHECKING:
    from qmpd.profile import Profile


def capabilities_of(profile: Profile) -> Capabilities:
    """The capabilities that its schema has."""
    info = profile.types.get("MigrationCapability")
    return Capabilities(
        frozenset(info.values if isinstance(info, EnumInfo) else ()),
        checks_multifd=profile.rules.holds("multifd-excludes-compression"),
        joins_multifd=profile.rules.holds("multifd-with-postcopy"),
        returns_colo=profile.rules.holds("colo-needs-a-return-path"),
    )


def parameters_of(profile: Profile) -> Parameters:
    """The parameters that its schema has."""
    info = profile.types.get("MigrationParameters")
    members = info.members if isinstance(info, ObjectInfo) else ()
    return Parameters(
        frozenset(member.name for member in members),
        takes_levels=profile.rules.holds("multifd-levels"),
    )

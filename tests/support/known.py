"""Requests without what a version of QEMU does not know."""

from __future__ import annotations

from typing import Any

from qmpd.profile.profile import Profile
from qmpd.profile.shipped import load
from qmpd.qapi.runtime.type_table import (
    AlternateInfo,
    EnumInfo,
    ObjectInfo,
    array_element,
    json_kind,
)


def known(version: str, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without members that the schema of `version` does not have.

    A request that none of its parts would get past the schema says nothing of what is behind it.
    """
    profile = load(version)
    info = profile.entry_points.commands.get(command)
    if info is None or info.arguments is None or not info.gen:
        return arguments
    known: dict[str, Any] = _known(profile, info.arguments, arguments)
    return known


def _known(profile: Profile, type_name: str, value: Any) -> Any:
    element = array_element(type_name)
    if element is not None and isinstance(value, list):
        return [_known(profile, element, one) for one in value]
    info = profile.types.get(type_name)
    if isinstance(info, AlternateInfo):
        chosen = info.by_kind.get(json_kind(value))
        return value if chosen is None else _known(profile, chosen, value)
    if not isinstance(info, ObjectInfo) or not isinstance(value, dict):
        return value
    members = list(info.members)
    if info.tag is not None:
        branch = info.branches.get(str(value.get(info.tag)))
        tags = next(member.type for member in members if member.name == info.tag)
        values = profile.types.get(tags)
        if isinstance(values, EnumInfo) and value.get(info.tag) not in values.values:
            return value  # refused as a whole
        members += profile.types.object(branch).members if branch is not None else ()
    types = {member.name: member.type for member in members}
    return {name: _known(profile, types[name], one) for name, one in value.items() if name in types}

"""What clients are not to see of replies and of the data of events.

QEMU's output visitor asks `compat_policy_output_ok` for each member; here the value is made
whole and what is hidden is taken out of it.  So is what another version of the schema does not
have: values are made as the default version has them.
"""

from __future__ import annotations

from typing import Any

from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import (
    AlternateInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)


def hide_output(policy: CompatPolicy, table: TypeTable, type_name: str, value: Any) -> Any:
    """`value`, a reply or an event's data, without the members that the policy hides.

    :param table: the types
    :param type_name: QAPI name of the value's type, or a reference to it
    """
    if not policy.restricts_output:
        return value
    return shown(policy, table, type_name, value)


def shown(policy: CompatPolicy, table: TypeTable, type_name: str, value: Any) -> Any:
    """`value` with the members that its type has and that the policy does not hide."""
    return _strip(policy, table, table.reference(type_name), value)


def _strip(policy: CompatPolicy, table: TypeTable, type_name: str, value: Any) -> Any:
    element = array_element(type_name)
    if element is not None:
        return [_strip(policy, table, element, item) for item in value]
    if type_name not in table:
        return value
    info = table[type_name]
    if isinstance(info, ObjectInfo):
        return _strip_members(policy, table, info, value)
    if isinstance(info, AlternateInfo):
        return _strip(policy, table, info.by_kind[json_kind(value)], value)
    return value


def _strip_members(
    policy: CompatPolicy, table: TypeTable, info: ObjectInfo, value: dict[str, Any]
) -> dict[str, Any]:
    result = {
        member.name: _strip(policy, table, member.type, value[member.name])
        for member in info.members
        if member.name in value and not policy.hides(member.features)
    }
    if info.tag is not None:
        branch = info.branches.get(value[info.tag])
        if branch is not None:
            result.update(_strip_members(policy, table, table.object(branch), value))
    return result

"""What clients are not to see of replies and of the data of events.

QEMU's output visitor asks `compat_policy_output_ok` for each member; here the value is made
whole and what is hidden is taken out of it.  So is what another version of the schema does not
have: values are made as the default version has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import (
    AlternateInfo,
    EnumInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)

Complete = Callable[[str, dict[str, Any]], None]
"""Adds to an object of the type named what only its version of the schema has."""


def hide_output(policy: CompatPolicy, table: TypeTable, type_name: str, value: Any) -> Any:
    """`value`, a reply or an event's data, without the members that the policy hides.

    :param table: the types
    :param type_name: QAPI name of the value's type, or a reference to it
    """
    if not policy.restricts_output:
        return value
    return shown(policy, table, type_name, value)


def shown(
    policy: CompatPolicy,
    table: TypeTable,
    type_name: str,
    value: Any,
    complete: Complete | None = None,
) -> Any:
    """`value` with the members that its type has and that the policy does not hide."""
    return _Showing(policy, table, complete).value(table.reference(type_name), value)


_NOTHING: Final = object()
"""Stands for a value that the version has no words for."""


class _Showing:
    """Makes the values that clients see.

    :param policy: hides members
    :param table: the types
    """

    def __init__(self, policy: CompatPolicy, table: TypeTable, complete: Complete | None) -> None:
        self._policy = policy
        self._table = table
        self._complete = complete

    def value(self, type_name: str, value: Any) -> Any:
        """What is seen of a value of type `type_name`, a reference."""
        element = array_element(type_name)
        if element is not None:
            seen = (self.value(element, item) for item in value)
            return [item for item in seen if item is not _NOTHING]
        info = self._table.get(type_name)
        if isinstance(info, ObjectInfo):
            return self._object(info, value)
        if isinstance(info, AlternateInfo):
            return self.value(info.by_kind[json_kind(value)], value)
        if isinstance(info, EnumInfo) and value not in info.values:
            return _NOTHING
        return value

    def _object(self, info: ObjectInfo, value: dict[str, Any]) -> Any:
        if self._complete is not None:
            value = dict(value)
            self._complete(info.name, value)
        result = {}
        for member in info.members:
            if member.name in value and not self._policy.hides(member.features):
                seen = self.value(member.type, value[member.name])
                if seen is not _NOTHING:
                    result[member.name] = seen
                elif not member.optional:
                    return _NOTHING
        if info.tag is not None:
            branch = info.branches.get(value[info.tag])
            if branch is not None:
                result.update(self._object(self._table.object(branch), value))
        return result

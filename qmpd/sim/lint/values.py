"""Values with the types that they are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from qmpd.qapi.runtime.type_table import (
    AlternateInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)

_NUMBER: Final = re.compile(r'(?<![\w"])-?\d[\d.eE+-]*')


def shape(value: Any) -> str:
    """What values have in common that differ in their numbers only."""
    return _NUMBER.sub("0", json.dumps(value, default=dict))


def parts(types: TypeTable, reference: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and all that is in it, each with its type; what does not fit is left out."""
    element = array_element(reference)
    if element is not None:
        for item in value if isinstance(value, list) else ():
            yield from parts(types, element, item)
        return
    info = types.get(reference)
    if isinstance(info, AlternateInfo):
        chosen = info.by_kind.get(json_kind(value))
        if chosen is not None:
            yield from parts(types, chosen, value)
        return
    if info is not None:
        yield reference, value
    if isinstance(info, ObjectInfo) and isinstance(value, dict):
        for member in members(types, info, value):
            if member.name in value:
                yield from parts(types, member.type, value[member.name])


def members(types: TypeTable, info: ObjectInfo, value: Mapping[str, Any]) -> Iterator[Any]:
    """The members that an object may have, with those of its branch."""
    yield from info.members
    branch = info.branches.get(str(value.get(info.tag))) if info.tag is not None else None
    if branch is not None:
        yield from members(types, types.object(branch), value)


def objects(types: TypeTable, reference: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a value, with their types and those that these are made of."""
    for type_name, part in parts(types, reference, value):
        info = types.get(type_name)
        while isinstance(info, ObjectInfo) and isinstance(part, dict):
            yield info.name, part
            info = None if info.base is None else types.get(info.base)

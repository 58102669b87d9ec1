"""Values of QAPI types as flat options write them: ``type=node,nodeid=1,cpus=0-3``.

It goes through a type's members as QEMU's opts-visitor does, in schema order, and says of the first
that is wrong what that says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from qmpd.base import scalars
from qmpd.base.ghash import first_unexpected
from qmpd.errors import GenericError
from qmpd.qapi.runtime.type_table import (
    INT_RANGES,
    EnumInfo,
    MemberInfo,
    ObjectInfo,
    TypeTable,
    array_element,
)

_LONGEST_RANGE: Final = 65536


class FlatVisitor:
    """Reads one value; use a new visitor for each.

    :param table: the types
    :param options: names and values in the order given; a name may come more than once
    """

    def __init__(self, table: TypeTable, options: Iterable[tuple[str, str]]) -> None:
        self._table = table
        self._left: dict[str, list[str]] = {}
        for name, value in options:
            self._left.setdefault(name, []).append(value)
        self._all = dict(self._left)

    def read(self, type_name: str) -> dict[str, Any]:
        """The options as a value of object type `type_name`.

        :raises GenericError: with QEMU's text
        """
        value = self._object(self._table.object(type_name))
        if self._left:
            seen = [name for name in self._all if name not in self._left]
            raise GenericError(f"Invalid parameter '{first_unexpected(self._all, seen)}'")
        return value

    def _object(self, info: ObjectInfo) -> dict[str, Any]:
        """An object; what it consists of has no names of its own."""
        result: dict[str, Any] = {}
        branch: ObjectInfo | None = info
        while branch is not None:
            for member in branch.members:
                self._member(member, result)
            name = None if branch.tag is None else branch.branches.get(result[branch.tag])
            branch = None if name is None else self._table.object(name)
        return result

    def _member(self, member: MemberInfo, result: dict[str, Any]) -> None:
        name, type_name = member.name, member.type
        element = array_element(type_name)
        inner = self._table.get(element or type_name)
        if name not in self._left and (
            member.optional or element is not None or not isinstance(inner, ObjectInfo)
        ):
            if not member.optional:
                raise GenericError(f"Parameter '{name}' is missing")
            return
        if element is not None:
            result[name] = self._list(name, element, inner)
        elif isinstance(inner, ObjectInfo):
            result[name] = self._object(inner)
        else:
            result[name] = self._scalar(name, type_name, self._left[name][-1])
            del self._left[name]

    def _list(self, name: str, element: str, inner: object) -> list[Any]:
        """A list, whose elements are told one by one; ranges of numbers stand for all in them."""
        values: list[Any] = []
        for text in self._left.pop(name):
            if isinstance(inner, ObjectInfo):
                values.append({inner.members[0].name: text})
            elif element in INT_RANGES and element != "size":
                values += self._range(name, element, text)
            else:
                values.append(self._scalar(name, element, text))
        return values

    def _range(self, name: str, type_name: str, text: str) -> Iterable[int]:
        left, dash, right = text.rpartition("-") if "-" in text[1:] else (text, "", text)
        expected = f"{_number_kind(type_name)} or range"
        first = _number(name, type_name, left if dash else text, expected)
        last = _number(name, type_name, right, expected)
        if not first <= last < first + _LONGEST_RANGE:
            raise GenericError(f"Parameter '{name}' expects {expected}")
        return range(first, last + 1)

    def _scalar(self, name: str, type_name: str, text: str) -> Any:
        info = self._table.get(type_name)
        if isinstance(info, EnumInfo):
            if text not in info.values:
                raise GenericError(self._table.not_a_value.format(name=name, value=text))
            return text
        try:
            if type_name == "bool":
                return scalars.parse_bool(text)
            if type_name == "size":
                return scalars.parse_size(text)
        except ValueError:
            expected = "'on' or 'off'" if type_name == "bool" else "a size value"
            raise GenericError(f"Parameter '{name}' expects {expected}") from None
        if type_name in INT_RANGES:
            return _number(name, type_name, text, _number_kind(type_name))
        return text


def _number_kind(type_name: str) -> str:
    return "a uint64 value" if INT_RANGES[type_name][0] == 0 else "an int64 value"


def _number(name: str, type_name: str, text: str, expected: str) -> int:
    low, high = INT_RANGES[type_name]
    try:
        if low == 0 and text.lstrip().startswith("-"):
            raise ValueError(text)
        number = scalars.parse_uint64(text) if low == 0 else scalars.parse_int64(text)
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects {expected}") from None
    if not low <= number <= high:
        raise GenericError(f"Parameter '{name}' expects {type_name}_t")
    return number

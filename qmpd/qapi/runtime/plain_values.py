"""What the visitor has read, as objects with attributes: arguments without pydantic.

They have the attributes of the models in `qmpd.profile.models`, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from qmpd.qapi.runtime.type_table import (
    AlternateInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)
from qmpd.qapi.runtime.words import attribute_name

Convert = Callable[[Any], Any]


class _Member(NamedTuple):
    """A member of an object.

    :param convert: makes an object of its value; None when the value stays as it is
    """

    name: str
    attribute: str
    convert: Convert | None


class PlainValues:
    """Makes objects of values of the types of one table, and keeps what it has found out of these.

    :param table: the types
    """

    def __init__(self, table: TypeTable) -> None:
        self._table = table
        self._members: dict[str, tuple[_Member, ...]] = {}

    def make(self, type_name: str, value: Any) -> Any:
        """`value` with all that is an object in it as an object with attributes.

        :param type_name: a reference
        :param value: what `qmpd.qapi.runtime.visitor.InputVisitor.read` has returned
        """
        convert = self._converter(type_name)
        return value if convert is None else convert(value)

    def _converter(self, type_name: str) -> Convert | None:
        element = array_element(type_name)
        if element is not None:
            convert = self._converter(element)
            return None if convert is None else partial(_each, convert)
        info = self._table.get(type_name)
        if isinstance(info, ObjectInfo):
            return partial(self._object, info)
        return partial(self._alternate, info) if isinstance(info, AlternateInfo) else None

    def _alternate(self, info: AlternateInfo, value: Any) -> Any:
        return self.make(info.by_kind[json_kind(value)], value)

    def _object(self, info: ObjectInfo, value: Mapping[str, Any]) -> SimpleNamespace:
        made = SimpleNamespace()
        self._fill(made.__dict__, info, value)
        return made

    def _fill(self, attributes: dict[str, Any], info: ObjectInfo, value: Mapping[str, Any]) -> None:
        """Add the members of `info`, and of the branch that the discriminator selects."""
        members = self._members.get(info.name)
        if members is None:
            members = self._members[info.name] = tuple(
                _Member(each.name, attribute_name(each.name), self._converter(each.type))
                for each in info.members
            )
        # what only other versions have, as in the models
        if info.absent:
            attributes.update(dict.fromkeys(info.absent))
        for name, attribute, convert in members:
            part = value.get(name)
            attributes[attribute] = part if part is None or convert is None else convert(part)
        if info.tag is not None:
            branch = info.branches.get(value[info.tag])
            if branch is not None:
                self._fill(attributes, self._table.object(branch), value)


def _each(convert: Convert, values: list[Any]) -> list[Any]:
    return [convert(value) for value in values]

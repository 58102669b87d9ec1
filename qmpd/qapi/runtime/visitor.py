"""The input visitor: reads a JSON value as a type, and words what is wrong with it.

It goes through a value exactly as QEMU's generated visitors do (members in schema
order, those of the base first, then the branch's; nested values fully when reached;
unexpected members of an object last), so the first problem it meets is the one that
QEMU reports.  pydantic decides whether arguments are good; this is asked what to
say when they are not, and where pydantic has no say: compat policies, ``key=value``
options, and values that QEMU accepts in more than one form.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from types import GeneratorType
from typing import Any

from qmpd.base import scalars
from qmpd.base.ghash import first_unexpected
from qmpd.errors import GenericError
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import (
    INT_RANGES,
    EnumInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)

_SCALARS: Mapping[str, str] = {
    "str": "string",
    "bool": "boolean",
    "null": "null",
    "number": "number",
}
"""Type -> the JSON type of its values, as the error names it."""

_KEYVAL_SCALARS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "bool": (scalars.parse_bool, "Parameter '{}' expects 'on' or 'off'"),
    "number": (scalars.parse_number, "Invalid parameter type for '{}', expected: number"),
    "size": (scalars.parse_size, "Parameter '{}' expects size"),
    "signed": (scalars.parse_int64, "Parameter '{}' expects integer"),
    "unsigned": (scalars.parse_uint64, "Parameter '{}' expects integer"),
}
"""Type -> its parser, and the error, for ``key=value`` options."""


Visit = Generator["Visit", Any, Any]
"""The visit of a value with parts: yields the visits of those that have parts, too, and is sent
what they return."""


def _finish(visit: Visit) -> Any:
    """Run a visit and those of all parts, however deep they are nested: without recursion."""
    open_visits = [visit]
    value = None
    while open_visits:
        try:
            open_visits.append(open_visits[-1].send(value))
        except StopIteration as end:
            open_visits.pop()
            value = end.value
        else:
            value = None
    return value


class InputVisitor:
    """Reads one value; use a new visitor for each.

    :param table: the types
    :param keyval: every scalar is a string, as in ``key=value`` options
    :param policy: refuses deprecated or unstable members and enum values
    """

    def __init__(
        self, table: TypeTable, *, keyval: bool = False, policy: CompatPolicy | None = None
    ) -> None:
        self._table = table
        self._keyval = keyval
        self._policy = policy
        self._path: list[str] = []

    def read(self, type_name: str, value: object, name: str | None = None) -> Any:
        """`value` as type `type_name`, as plain data with every number in its final form.

        A whole object is read as the arguments of a command are: its members have no
        common prefix in error messages.

        :param name: what messages call the value, where it is a property of something
        :raises GenericError: with QEMU's text for the first thing wrong
        """
        if name is not None:
            self._path.append(f".{name}")
        found = self._visit(type_name, name, value)
        return _finish(found) if type(found) is GeneratorType else found

    def _visit(self, type_name: str, name: str | None, value: object) -> Any:
        """`value` as that type, or the visit of it if it has parts."""
        element = array_element(type_name)
        if element is not None:
            return self._list(element, value)
        info = self._table.get(type_name)
        if info is None:
            return self._builtin(type_name, name, value)
        if isinstance(info, ObjectInfo):
            return self._object(info, value)
        if isinstance(info, EnumInfo):
            return self._enum(info, name, value)
        reference = info.by_kind.get(json_kind(value))
        if reference is None:
            last = "null" if name is None else name
            raise GenericError(f"Invalid parameter type for '{last}', expected: {info.name}")
        return self._visit(reference, name, value)

    def _full_name(self, *more: str) -> str:
        """The name of the value being visited (`full_name_nth`).

        A member's own name may be empty; only the outermost value, unless it is a property, has
        no name at all.

        :param more: what follows the path, such as ``.name`` for a member that is not visited
        """
        path = "".join([*self._path, *more])
        return path.removeprefix(".") if path else "<anonymous>"

    def _wrong_type(self, expected: str) -> GenericError:
        return GenericError(
            f"Invalid parameter type for '{self._full_name()}', expected: {expected}"
        )

    def _list(self, element: str, value: object) -> Visit:
        if type(value) is not list:
            raise self._wrong_type("array")
        result = []
        form = ".{}" if self._keyval else "[{}]"
        for index, item in enumerate(value):
            self._path.append(form.format(index))
            found = self._visit(element, None, item)
            result.append((yield found) if type(found) is GeneratorType else found)
            self._path.pop()
        return result

    def _object(self, info: ObjectInfo, value: object) -> Visit:
        """Visit the members of `info` and of the branches that the discriminators select."""
        if type(value) is not dict:
            raise self._wrong_type("object")
        result: dict[str, Any] = {}
        branch: ObjectInfo | None = info
        while branch is not None:
            for member in branch.members:
                name = member.name
                if name not in value:
                    if not member.optional:
                        full = self._full_name(f".{name}")
                        raise GenericError(f"Parameter '{full}' is missing")
                    continue
                if self._policy is not None:
                    self._policy.check_input("parameter", name, member.features)
                part = value[name]
                if member.type != "str" or type(part) is not str:
                    self._path.append(f".{name}")
                    part = self._visit(member.type, name, part)
                    if type(part) is GeneratorType:
                        part = yield part
                    self._path.pop()
                result[name] = part
            branch = self._branch(branch, result)
        if len(result) != len(value):
            unexpected = self._full_name(f".{first_unexpected(value, list(result))}")
            raise GenericError(f"Parameter '{unexpected}' is unexpected")
        return result

    def _branch(self, info: ObjectInfo, result: dict[str, Any]) -> ObjectInfo | None:
        """The branch that the discriminator selects, if there is one."""
        branch = None if info.tag is None else info.branches.get(result[info.tag])
        return None if branch is None else self._table.object(branch)

    def _enum(self, info: EnumInfo, name: str | None, value: object) -> str:
        text: str = self._builtin("str", name, value)
        features = info.values.get(text)
        if features is None:
            last = "null" if name is None else name
            raise GenericError(self._table.not_a_value.format(name=last, value=text))
        if self._policy is not None:
            self._policy.check_input("value", text, features)
        return text

    def _builtin(self, type_name: str, name: str | None, value: object) -> Any:
        if type_name == "any":
            return value
        if self._keyval and type_name != "null":
            number = self._keyval_scalar(type_name, value)
        elif type_name in INT_RANGES:
            number = self._integer(type_name, value)
        else:
            return self._scalar(type_name, value)
        if type_name in INT_RANGES:
            low, high = INT_RANGES[type_name]
            if not low <= number <= high:
                last = "null" if name is None else name
                raise GenericError(f"Parameter '{last}' expects {type_name}_t")
        return number

    def _scalar(self, type_name: str, value: object) -> Any:
        if json_kind(value) != _SCALARS[type_name]:
            raise self._wrong_type(_SCALARS[type_name])
        return float(value) if type_name == "number" else value  # type: ignore[arg-type]

    def _integer(self, type_name: str, value: object) -> int:
        """An integer of 64 bits; of the unsigned ones, a negative value wraps around."""
        unsigned = INT_RANGES[type_name][0] == 0
        if type(value) is int:
            if not unsigned and -(2**63) <= value < 2**63:
                return value
            if unsigned and -(2**63) <= value < 2**64:
                return value % 2**64
        if unsigned:
            raise GenericError(f"Parameter '{self._full_name()}' expects uint64")
        raise self._wrong_type("integer")

    def _keyval_scalar(self, type_name: str, value: object) -> Any:
        if type(value) is not str:
            raise GenericError(f"Parameters '{self._full_name()}.*' are unexpected")
        if type_name == "str":
            return value
        kind = type_name
        if kind in INT_RANGES and kind != "size":
            kind = "unsigned" if INT_RANGES[kind][0] == 0 else "signed"
        parse, message = _KEYVAL_SCALARS[kind]
        try:
            return parse(value)
        except ValueError:
            raise GenericError(message.format(self._full_name())) from None

"""What a value has to be like: how tests say it."""

from __future__ import annotations

import re
from typing import Any, Final


class _Any:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "ANY"


ANY: Final[Any] = _Any()
"""Matches anything, as `unittest.mock.ANY`, which will do as well."""


class Exactly:
    """Matches a value that is equal, with no members besides.

    :param value: which
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Exactly({self.value!r})"


def matches(value: Any, wanted: Any) -> bool:
    """Whether `value` is as `wanted` has it.

    >>> matches({"node": "disk0", "name": "b0"}, {"name": "b0"})
    True
    >>> matches({"size": 512}, {"size": lambda size: size > 1024})
    False
    >>> matches("/images/a.qcow2", re.compile("qcow2$"))
    True

    :param wanted: a dictionary: each of its members is there and matches, others may be there; a
        list or tuple: as many items, and each matches; a function: it returns something true for
        the value; a compiled regular expression: it is found in the value, a string; `Exactly` or
        anything else: the value is equal
    """
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            name in value and matches(value[name], part) for name, part in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(matches, value, wanted))
        )
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and wanted.search(value) is not None
    if isinstance(wanted, Exactly):
        return bool(value == wanted.value)
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, int) and isinstance(value, int):
        # true is not 1 in JSON
        return isinstance(wanted, bool) == isinstance(value, bool) and wanted == value
    return bool(wanted == value)

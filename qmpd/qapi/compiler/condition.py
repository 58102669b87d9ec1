"""The ``if`` of definitions, members, values and features."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qmpd.qapi.compiler.entities import Condition
from qmpd.qapi.compiler.source import Site

if TYPE_CHECKING:
    from qmpd.qapi.compiler.parsed import Value

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_OPERATORS = ("all", "any", "not")


def read_condition(
    body: Mapping[str, Value], site: Site, what: str, *, preprocessor: bool = False
) -> Condition | None:
    """The ``if`` of `body`, checked; None without one.

    A condition is the name of a configuration symbol, or an object with one of ``all`` and
    ``any`` (a list) or ``not``.

    :param what: what carries the condition, for errors
    :param preprocessor: read the form of QEMU 3.0 to 6.1 too: preprocessor text like
        ``defined(CONFIG_X)``, and a list of texts, of which all must hold; such a list becomes
        an ``all``
    :raises QapiError: not a condition
    """
    if "if" not in body:
        return None
    value = body["if"]
    if preprocessor:
        if isinstance(value, str) and _is_preprocessor(value):
            return Condition(value)
        if isinstance(value, list) and value and all(map(_is_preprocessor, value)):
            return Condition({"all": list(value)})
    _check(value, site, what)
    assert isinstance(value, str | dict)
    return Condition(value)


def _is_preprocessor(value: Value) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check(value: Value, site: Site, what: str) -> None:
    if isinstance(value, str):
        if not _NAME.fullmatch(value):
            raise site.error(f"'if' condition '{value}' of {what} is not a valid identifier")
        return
    if not isinstance(value, dict):
        raise site.error(f"'if' condition of {what} must be a string or an object")
    check_keys(value, site, f"'if' condition of {what}", (), _OPERATORS)
    if len(value) != 1:
        raise site.error(f"'if' condition of {what} has conflicting keys")
    ((operator, operand),) = value.items()
    if operator == "not":
        _check(operand, site, what)
        return
    if not isinstance(operand, list):
        raise site.error(f"'{operator}' condition of {what} must be an array")
    if not operand:
        raise site.error(f"'if' condition [] of {what} is useless")
    for item in operand:
        _check(item, site, what)


def check_keys(
    body: Mapping[str, Value],
    site: Site,
    what: str,
    required: tuple[str, ...],
    optional: tuple[str, ...],
) -> None:
    """Check that `body` has all `required` keys and no others than these and `optional`.

    :param what: what `body` is, for the error
    :raises QapiError: keys missing or unknown
    """
    allowed = {*required, *optional}
    if missing := set(required) - body.keys():
        raise site.error(f"{what} misses key{_plural(missing)} {_listed(missing)}")
    if unknown := body.keys() - allowed:
        raise site.error(
            f"{what} has unknown key{_plural(unknown)} {_listed(unknown)}\n"
            f"Valid keys are {_listed(allowed)}."
        )


def _plural(keys: set[str]) -> str:
    return "s" if len(keys) > 1 else ""


def _listed(keys: set[str]) -> str:
    return ", ".join(f"'{key}'" for key in sorted(keys))

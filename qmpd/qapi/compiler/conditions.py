"""The conditions of a schema that holds several versions, as they are written, by what has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from qmpd.qapi.compiler.parsed import Value
from qmpd.qapi.compiler.parser import parse_schema

_DEFINITIONS = ("command", "event", "struct", "union", "alternate", "enum")

Conditions = Mapping[tuple[str, str | None], str]
"""The condition of a definition (None), or of a part of it: of a member, a value, a branch."""


def read_conditions(path: str | Path) -> Conditions:
    """The conditions in the schema in `path`; what is there always has none.

    :raises QapiError: it cannot be read
    """
    parsed = parse_schema(os.fspath(path), with_docs=False)
    if parsed.failure:
        raise parsed.failure
    found: dict[tuple[str, str | None], str] = {}
    for expression in parsed.expressions:
        body = expression.body
        name = next((str(body[kind]) for kind in _DEFINITIONS if kind in body), None)
        if name is None:
            continue
        if "if" in body:
            _note(found, (name, None), body["if"])
        for key in ("data", "base"):
            for part, condition in _parts(body.get(key)):
                _note(found, (name, part), condition)
    return found


def _note(
    found: dict[tuple[str, str | None], str], key: tuple[str, str | None], condition: Value
) -> None:
    text = _spelled(condition)
    # a key may stand there twice, for versions that exclude each other
    found[key] = text if key not in found else f"{found[key]}, {text}"


def _parts(value: Value | None) -> Iterator[tuple[str, Value]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if isinstance(part, dict) and "if" in part:
                yield str(name).removeprefix("*"), part["if"]
    elif isinstance(value, list):
        for part in value:
            if isinstance(part, dict) and "if" in part:
                yield str(part["name"]), part["if"]


def _spelled(condition: Value) -> str:
    """A condition as one says it: ``SINCE_6_0 and not SINCE_9_0``."""
    if not isinstance(condition, dict):
        return str(condition)
    ((operator, operand),) = condition.items()
    if operator == "not":
        return f"not {_spelled(operand)}"
    words = {"all": " and ", "any": " or "}[operator]
    return words.join(map(_spelled, operand)) if isinstance(operand, list) else str(operand)

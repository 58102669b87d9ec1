"""QEMU's ``key=value,...`` syntax with dotted keys, parsed into a tree (util/keyval.c).

``a.b=1,a.c.0=x,a.c.1=y`` is ``{"a": {"b": "1", "c": ["x", "y"]}}``: names make objects, indices
make arrays.  All scalars stay strings; the schema gives them their types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from qmpd.base.scalars import decimal_number
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import value_until_comma

Tree: TypeAlias = "dict[str, Value]"
Value: TypeAlias = "str | Tree | list[Value]"

FRAGMENT_MAX: Final = 127
"""Longest component of a key, in characters."""

_KEY = re.compile(r"[^=,]*")
_NAME = re.compile(r"(?:__[A-Za-z0-9.-]+_)?[A-Za-z][A-Za-z0-9_-]*")
_INDEX = re.compile(r"[0-9]+")


@dataclass
class KeyvalOptions:
    """The result of parsing a string.

    :param tree: the values
    :param wants_help: whether there was a ``help`` or ``?`` in the place of a parameter
    """

    tree: Tree = field(default_factory=dict)
    wants_help: bool = False


def parse_keyval(text: str, implied_key: str | None = None) -> KeyvalOptions:
    """Parse `text` (``keyval_parse``).

    :param implied_key: the key of a first value without a key
    :raises GenericError: with QEMU's text
    """
    result = KeyvalOptions()
    start = 0
    first = implied_key
    while start < len(text):
        start = _parse_one(result, text, start, first)
        first = None
    _listify_members(result.tree, "")
    return result


def _parse_one(result: KeyvalOptions, text: str, start: int, implied_key: str | None) -> int:
    """Parse the parameter that begins at `start`; returns where the next one does."""
    match = _KEY.match(text, start)
    assert match is not None
    key, end = match[0], match.end()
    has_value = text.startswith("=", end)
    if key and not has_value:
        if key in ("help", "?"):
            result.wants_help = True
            return end + 1
        if implied_key is not None:
            # QEMU takes no doubled comma for a comma here
            result.tree[implied_key] = key
            return end + 1
    names = _split(key)
    if not has_value:
        raise GenericError(f"Expected '=' after parameter '{key}'")
    value, following = value_until_comma(text, end + 1)
    _put_path(result.tree, names, key, value)
    return following


def _split(key: str) -> list[str]:
    names: list[str] = []
    position = 0
    while True:
        match = _INDEX.match(key, position) if names else None
        if match is None or (match.end() < len(key) and key[match.end()] != "."):
            match = _NAME.match(key, position)
        end = match.end() if match else position
        if match is None or (end < len(key) and key[end] != "."):
            raise GenericError(f"Invalid parameter '{key}'")
        name = match.group()
        if len(name) > FRAGMENT_MAX:
            what = "" if name == key else " fragment"
            raise GenericError(f"Parameter{what} '{name}' is too long")
        names.append(name)
        if end == len(key):
            return names
        position = end + 1


def _put_path(tree: Tree, names: list[str], key: str, value: str) -> None:
    """Set a value; the last one of a repeated key counts."""
    here = tree
    for depth, name in enumerate(names[:-1], 1):
        inner = here.setdefault(name, {})
        if not isinstance(inner, dict):
            prefix = ".".join(names[:depth])
            raise GenericError(f"Parameters '{prefix}.*' used inconsistently")
        here = inner
    if isinstance(here.get(names[-1]), dict):
        raise GenericError(f"Parameters '{key}.*' used inconsistently")
    here[names[-1]] = value


def _listify_members(tree: Tree, prefix: str) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            tree[name] = _listify(value, f"{prefix}{name}.")


def _listify(tree: Tree, prefix: str) -> Tree | list[Value]:
    """Turn an object whose members are all indices into a list (``keyval_listify``)."""
    _listify_members(tree, prefix)
    indices = [name for name in tree if name.isdigit()]
    if not indices:
        return tree
    if len(indices) != len(tree):
        raise GenericError(f"Parameters '{prefix}*' used inconsistently")
    by_index = {decimal_number(name): tree[name] for name in indices}
    for index in range(len(by_index)):
        if index not in by_index:
            raise GenericError(f"Parameter '{prefix}{index}' missing")
    return [by_index[index] for index in range(len(by_index))]

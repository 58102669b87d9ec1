"""The properties that QEMU 10.0.2's device models have, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from qmpd.profile.shipped import schema_path

COMMON: Final = ("type", "parent_bus", "realized", "hotplugged", "hotpluggable")
"""Properties of every device."""


class Property(NamedTuple):
    """One property: its type as QOM tells it, and what it says where nobody has set it."""

    type: str
    default: Any = None


@cache
def _tables() -> dict[str, list[list[Any]]]:
    text = schema_path().with_name("device-properties.json").read_text(encoding="utf-8")
    tables: dict[str, list[list[Any]]] = json.loads(text)
    return tables


@cache
def properties_of(model: str) -> Mapping[str, Property]:
    """The properties of a model that qmpd has, by name, in the order in which QOM lists them."""
    return MappingProxyType({name: Property(*rest) for name, *rest in _tables()[model]})

"""The QOM types of QEMU 10.0.2 and their properties, as data.

`schema/qom-types.json` holds what qom-list-types and qom-list-properties of the real
program say, in its order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from qmpd.qapi.shipped import schema_path

PropertyInfo = Mapping[str, Any]
"""ObjectPropertyInfo: name, type, and maybe description and default-value."""

_OF_EVERY_DEVICE = frozenset(("type", "realized", "hotpluggable", "hotplugged", "parent_bus"))
"""Properties that device-list-properties leaves out."""


class QomType(NamedTuple):
    """One type; `properties` is None where even QEMU cannot tell them."""

    name: str
    parent: str | None
    abstract: bool
    interfaces: tuple[str, ...]
    properties: Sequence[PropertyInfo] | None


class TypeTable:
    """All types by name, in the order of qom-list-types.

    :param data: the content of ``qom-types.json``
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        infos = data["properties"]
        lists = data["lists"]
        self._types: dict[str, QomType] = {}
        for entry in data["types"]:
            which = entry.get("properties")
            self._types[entry["name"]] = QomType(
                entry["name"],
                entry.get("parent"),
                entry.get("abstract", False),
                tuple(entry.get("interfaces", ())),
                None if which is None else [infos[index] for index in lists[which]],
            )

    def find(self, name: str) -> QomType | None:
        """The type called `name`."""
        return self._types.get(name)

    def is_a(self, name: str, ancestor: str) -> bool:
        """Whether type `name` is `ancestor`, comes from it, or implements it."""
        current = self._types.get(name)
        while current is not None:
            if current.name == ancestor:
                return True
            if any(self.is_a(interface, ancestor) for interface in current.interfaces):
                return True
            current = self._types.get(current.parent or "")
        return False

    def implementing(self, ancestor: str | None, *, abstract: bool) -> list[QomType]:
        """All types that are an `ancestor` (None: all), abstract ones only where wanted."""
        return [
            entry
            for entry in self._types.values()
            if (abstract or not entry.abstract)
            and (ancestor is None or self.is_a(entry.name, ancestor))
        ]


@cache
def qom_types() -> TypeTable:
    """The types of the emulated program."""
    text = schema_path().with_name("qom-types.json").read_text(encoding="utf-8")
    return TypeTable(json.loads(text))


def device_properties(properties: Sequence[PropertyInfo]) -> list[PropertyInfo]:
    """Those of a device's properties that device-list-properties tells."""
    return [
        info
        for info in properties
        if info["name"] not in _OF_EVERY_DEVICE and not info["name"].startswith("legacy-")
    ]

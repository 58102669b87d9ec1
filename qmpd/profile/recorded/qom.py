"""QOM types: what there is, what it is derived from, and its properties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple

from qmpd.errors import DeviceNotFound, GenericError, NotServed

Info = dict[str, Any]
"""An entry of a reply."""

_NOT_A_DEVICE: Final = "Parameter 'typename' expects a non-abstract device type"


class QomType(NamedTuple):
    """A QOM type; `parent` is the type that it is derived from."""

    name: str
    parent: str | None
    abstract: bool


class QomTypes:
    """The QOM types of one program.

    ``types.json.gz`` has `types` (name, parent, whether abstract; in the order of QEMU's table)
    and `interfaces` (for each, the types that have it).  ``properties.json.gz`` has `infos`, the
    entries of replies; `lists`, numbers of such entries; and by type, the number of the list of
    its properties: `devices` for device-list-properties, `types` for qom-list-properties.

    :param read: reads one of these tables, by its name
    """

    def __init__(self, read: Callable[[str], dict[str, Any]]) -> None:
        self._read = read

    @cached_property
    def _table(self) -> dict[str, Any]:
        return self._read("types")

    @cached_property
    def all(self) -> dict[str, QomType]:
        """All types, by name."""
        return {row[0]: QomType(*row) for row in self._table.get("types", ())}

    @cached_property
    def _properties(self) -> dict[str, Any]:
        return self._read("properties")

    def lineage(self, name: str) -> Iterator[str]:
        """`name`, and what it is derived from, one after the other."""
        found = self.all.get(name)
        while found is not None:
            yield found.name
            found = None if found.parent is None else self.all.get(found.parent)

    def listing(self, implements: str | None, *, abstract: bool) -> list[Info]:
        """Command qom-list-types.

        :param implements: only types that are this one, or are derived from it, or have it as an
            interface; None for all
        :param abstract: whether abstract types are listed, too
        """
        having = set(self._table.get("interfaces", {}).get(implements, ()))
        return [
            _info(known)
            for known in self.all.values()
            if (abstract or not known.abstract)
            and (
                implements is None or known.name in having or implements in self.lineage(known.name)
            )
        ]

    def properties(self, name: str) -> list[Info]:
        """Command qom-list-properties.

        :raises DeviceNotFound: there is no such type
        :raises GenericError: it is an interface
        :raises NotServed: the real program ends when it is asked
        """
        if name not in self.all:
            raise DeviceNotFound(f"Class '{name}' not found")
        if "interface" in self.lineage(name):
            raise GenericError("Parameter 'typename' expects a QOM type")
        return self._listed("types", name)

    def device_properties(self, name: str) -> list[Info]:
        """Command device-list-properties.

        :raises DeviceNotFound: there is no such type
        :raises GenericError: it is no device, or an abstract one
        """
        known = self.all.get(name)
        if known is None:
            raise DeviceNotFound(f"Device '{name}' not found")
        if known.abstract or "device" not in self.lineage(name):
            raise GenericError(_NOT_A_DEVICE)
        return self._listed("devices", name)

    def _listed(self, table: str, name: str) -> list[Info]:
        number = self._properties.get(table, {}).get(name)
        if number is None:
            raise NotServed(f"The properties of type '{name}' are not known to qmpd")
        infos = self._properties["infos"]
        return [infos[index] for index in self._properties["lists"][number]]


def _info(known: QomType) -> Info:
    info: Info = {"name": known.name}
    if known.abstract:
        info["abstract"] = True
    if known.parent is not None:
        info["parent"] = known.parent
    return info

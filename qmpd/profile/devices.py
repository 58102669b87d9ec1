"""The device models of one version of QEMU: their names, buses and properties, as data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from qmpd.profile.recorded.store import Recorded


class DeviceModel(NamedTuple):
    """A model; `group` is its heading in ``-device help``, which has no word of a `no_user` one."""

    group: str
    name: str
    bus: str | None = None
    alias: str | None = None
    description: str | None = None
    no_user: bool = False


class Property(NamedTuple):
    """A property: its type as QOM gives it, and its value where nobody has set one."""

    type: str
    default: Any = None


class DeviceTables:
    """The device models of a profile; a table is read when it is needed.

    :param directories: where ``device-properties.json`` is looked for, in this order; it has the
        properties of models that are used often
    :param recorded: all that was recorded from the program
    """

    def __init__(self, directories: Sequence[str], recorded: Recorded) -> None:
        self._directories = directories
        self._recorded = recorded
        self._known: dict[str, Mapping[str, Property]] = {}

    @cached_property
    def models(self) -> tuple[DeviceModel, ...]:
        """All models, in the order of ``info qdm``."""
        return tuple(DeviceModel(*row) for row in self._recorded.read("devices").get("devices", ()))

    @cached_property
    def _by_name(self) -> Mapping[str, DeviceModel]:
        known = [model for model in self.models if not model.no_user]
        aliases = {model.alias: model for model in known if model.alias is not None}
        return aliases | {model.name: model for model in known}

    def model(self, name: str) -> DeviceModel | None:
        """The model that users may have, by its name or its alias; None when there is none."""
        return self._by_name.get(name)

    @cached_property
    def _property_tables(self) -> Mapping[str, list[list[Any]]]:
        for directory in self._directories:
            try:
                with open(os.path.join(directory, "device-properties.json"), "rb") as file:
                    table: dict[str, list[list[Any]]] = json.load(file)
            except FileNotFoundError:
                continue
            return table
        return {}

    def properties(self, model: str) -> Mapping[str, Property]:
        """The properties of a model that qmpd has, by name, in the order of qom-list-properties.

        :raises QmpError: there is no such model
        """
        found = self._known.get(model)
        if found is None:
            rows = self._property_tables.get(model)
            if rows is None:
                types = self._recorded.types
                rows = rows_of(types.properties(model), types.device_properties(model))
            found = MappingProxyType({name: Property(*rest) for name, *rest in rows})
            self._known[model] = found
        return found


def rows_of(listed: list[dict[str, Any]], of_devices: list[dict[str, Any]]) -> list[list[Any]]:
    """Names, types and, where there are any, defaults of properties.

    :param listed: all of a model, as qom-list-properties lists them
    :param of_devices: those of device-list-properties, the only ones with defaults until 7.2
    """
    defaults = {
        info["name"]: [info["default-value"]]
        for info in (*of_devices, *listed)
        if "default-value" in info
    }
    return [[info["name"], info["type"], *defaults.get(info["name"], ())] for info in listed]

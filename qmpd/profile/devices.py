"""The device models of one version of QEMU: their names, buses and properties, as data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple


class DeviceModel(NamedTuple):
    """A model that QEMU's device_add knows; `group` is its heading in ``-device help``."""

    name: str
    group: str
    bus: str | None = None
    alias: str | None = None


class Property(NamedTuple):
    """A property: its type as QOM gives it, and its value where nobody has set one."""

    type: str
    default: Any = None


class DeviceTables:
    """The tables ``devices.json`` and ``device-properties.json`` of a profile, read when needed.

    :param directories: where the files are, in the order in which they are looked for; one that is
        missing is an empty table
    :param recorded: the properties of models that the second one does not have, as
        qom-list-properties lists them
    """

    def __init__(
        self, directories: Sequence[str], recorded: Callable[[str], list[dict[str, Any]]]
    ) -> None:
        self._directories = directories
        self._recorded = recorded
        self._known: dict[str, Mapping[str, Property]] = {}

    def _read(self, name: str) -> dict[str, Any]:
        for directory in self._directories:
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    table: dict[str, Any] = json.load(file)
            except FileNotFoundError:
                continue
            return table
        return {}

    @cached_property
    def models(self) -> tuple[DeviceModel, ...]:
        """All models, in the order of ``-device help``."""
        return tuple(
            DeviceModel(**entry) for entry in self._read("devices.json").get("devices", ())
        )

    @cached_property
    def _by_name(self) -> Mapping[str, DeviceModel]:
        aliases = {model.alias: model for model in self.models if model.alias is not None}
        return aliases | {model.name: model for model in self.models}

    def model(self, name: str) -> DeviceModel | None:
        """The model called `name`, by its name or its alias; None when there is none."""
        return self._by_name.get(name)

    @cached_property
    def _property_tables(self) -> Mapping[str, list[list[Any]]]:
        return self._read("device-properties.json")

    def properties(self, model: str) -> Mapping[str, Property]:
        """The properties of a model that qmpd has, by name, in the order of qom-list-properties.

        :raises QmpError: there is no such model
        """
        found = self._known.get(model)
        if found is None:
            rows = self._property_tables.get(model)
            if rows is None:
                rows = [_row(info) for info in self._recorded(model)]
            found = MappingProxyType({name: Property(*rest) for name, *rest in rows})
            self._known[model] = found
        return found


def _row(info: dict[str, Any]) -> list[Any]:
    row = [info["name"], info["type"]]
    return [*row, info["default-value"]] if "default-value" in info else row

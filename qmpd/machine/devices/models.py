"""The device models of the system emulator: names, buses and aliases, as data."""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

from qmpd.profile.shipped import schema_path


class DeviceModel(NamedTuple):
    """A model that QEMU's device_add knows; `group` is its heading in ``-device help``."""

    name: str
    group: str
    bus: str | None = None
    alias: str | None = None


@cache
def device_models() -> tuple[DeviceModel, ...]:
    """All models, in the order of ``-device help``."""
    text = schema_path().with_name("devices.json").read_text(encoding="utf-8")
    return tuple(DeviceModel(**entry) for entry in json.loads(text)["devices"])


@cache
def is_device_model(name: str) -> bool:
    """Whether `name` is a model, or another name of one."""
    return any(name in (model.name, model.alias) for model in device_models())


@cache
def _by_name() -> dict[str, DeviceModel]:
    aliases = {model.alias: model for model in device_models() if model.alias is not None}
    return aliases | {model.name: model for model in device_models()}


def device_model(name: str) -> DeviceModel | None:
    """The model called `name`, which may be its other name."""
    return _by_name().get(name)

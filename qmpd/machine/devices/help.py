"""Help about device models (``qdev_device_help``): which there are, and the properties of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.profile import Profile

_COLUMN: Final = 24
"""Where descriptions begin."""


def models_help(profile: Profile, *, also_the_boards: bool = False) -> str:
    """All models, by groups.

    :param also_the_boards: whether those are listed, too, that only boards make
    """
    lines: list[str] = []
    group = ""
    for model in profile.devices.models:
        if model.no_user and not also_the_boards:
            continue
        if model.group != group:
            lines.append(f"{chr(10) if group else ''}{model.group} devices:\n")
            group = model.group
        bus = f", bus {model.bus}" if model.bus else ""
        alias = f', alias "{model.alias}"' if model.alias else ""
        text = f', desc "{model.description}"' if model.description else ""
        lines.append(f'name "{model.name}"{bus}{alias}{text}{", no-user" * model.no_user}\n')
    return "".join(lines)


def properties_help(profile: Profile, name: str) -> str:
    """The properties of one model, sorted.

    :param name: the model's, or its alias
    :raises QmpError: there is no such model, or only others are derived from it
    """
    known = profile.devices.model(name)
    model = name if known is None else known.name
    as_json = profile.rules.holds("help-shows-json")
    listed = properties_of(profile, Personality.SYSTEM, model)
    lines = sorted((_line(info, as_json=as_json) for info in listed), key=str.encode)
    head = f"{model} options:\n" if lines else f"There are no options for {model}.\n"
    return head + "".join(f"{line}\n" for line in lines)


def properties_of(profile: Profile, personality: Personality, name: str) -> list[dict[str, Any]]:
    """Command device-list-properties.

    :raises QmpError: QEMU's texts
    """
    types = profile.recorded(personality).types
    told_apart = profile.rules.holds("other-types-are-no-devices")
    if told_apart and name in types.all and "device" not in types.lineage(name):
        raise GenericError("Parameter 'typename' expects device")
    return types.device_properties(name)


def why_no_model(profile: Profile, name: str) -> str:
    """Why users cannot have a device of a type (``qdev_get_device_class``)."""
    types = profile.recorded(Personality.SYSTEM).types
    if "device" not in types.lineage(name):
        return f"'{name}' is not a valid device model name"
    expected = "a non-abstract" if types.all[name].abstract else "a pluggable"
    return f"Parameter 'driver' expects {expected} device type"


def _line(info: dict[str, Any], *, as_json: bool) -> str:
    line = f"  {info['name']}=<{info['type']}>"
    if "description" not in info and "default-value" not in info:
        return line
    text = f"{line:<{_COLUMN}} - {info.get('description', '')}"
    if "default-value" in info:
        text += f" (default: {_value(info['default-value'], as_json=as_json)})"
    return text


def _value(value: Any, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)

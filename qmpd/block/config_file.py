"""QEMU's configuration files: sections of options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_SECTION: Final = re.compile(r'\[([A-Za-z0-9_-]+)(?:\s+"([^"]*)")?\]\s*')
_OPTION: Final = re.compile(r'\s*([A-Za-z0-9_.-]+)\s*=\s*"([^"]*)"\s*')
_BOOLEANS: Final = {"on": True, "yes": True, "true": True, "y": True} | {
    "off": False,
    "no": False,
    "false": False,
    "n": False,
}


class ConfigError(Exception):
    """A line is malformed."""


def parse_config(
    text: str, groups: Mapping[str, Mapping[str, type]]
) -> list[tuple[str, dict[str, Any]]]:
    """The sections of a file, in their order, each with its group and options.

    :param groups: the options of every group there may be, with their types
    :raises ConfigError: with QEMU's text
    """
    sections: list[tuple[str, dict[str, Any]]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        section = _SECTION.fullmatch(line)
        option = _OPTION.fullmatch(line)
        if section is not None:
            if section[1] not in groups:
                raise ConfigError(f"There is no option group '{section[1]}'")
            sections.append((section[1], {}))
        elif option is not None:
            if not sections:
                raise ConfigError("no group defined")
            group, options = sections[-1]
            kind = groups[group].get(option[1])
            if kind is None:
                raise ConfigError(f"Invalid parameter '{option[1]}'")
            options[option[1]] = _value(option[1], option[2], kind)
        else:
            raise ConfigError("parse error")
    return sections


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text not in _BOOLEANS:
            raise ConfigError(f"Parameter '{name}' expects 'on' or 'off'")
        return _BOOLEANS[text]
    if kind is int:
        try:
            return int(text, 0)
        except ValueError:
            raise ConfigError(f"Parameter '{name}' expects a number") from None
    return text

"""QEMU's configuration files: sections of options (``qemu_config_parse``).

The rest of a line after a section header or an option is ignored.  A line that is neither is taken
for the name of an option with an empty value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from qmpd.base.identifiers import check_id
from qmpd.base.qdict import QDict
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import parse_option_bool, parse_option_number

_LINE: Final = 1023
"""Longest line, bytes; a longer one counts as several."""

_SECTION_WITH_ID: Final = re.compile(r'\[\s*(\S{1,63}+)\s*"([^"]{1,63})')
_SECTION: Final = re.compile(r"\[([^\]]{1,63})")
_OPTION: Final = re.compile(r'\s*(\S{1,63}+)\s*=\s*"([^"]+)')
_EMPTY_OPTION: Final = re.compile(r"\s*(\S{1,63})")

Section = tuple[str, str | None, dict[str, str]]
"""Group, id and options as they are written."""


def parse_config(
    text: str, groups: Mapping[str, Mapping[str, type]]
) -> list[tuple[str, dict[str, Any]]]:
    """Parse a file into its sections: group and options of each, in their order.

    :param groups: the known groups, with the types of their options
    :raises GenericError: with QEMU's text
    """
    sections: list[tuple[str, dict[str, Any]]] = []
    known: set[tuple[str, str]] = set()
    for group, ident, options in _sections(text):
        if group not in groups:
            raise GenericError(f"There is no option group '{group}'")
        if ident is not None:
            check_id(ident)
            if (group, ident) in known:
                raise GenericError(f"Duplicate ID '{ident}' for {group}")
            known.add((group, ident))
        sections.append((group, _typed(options, groups[group])))
    return sections


def _typed(options: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    typed = {}
    for name, text in QDict(options).items():
        if name not in kinds:
            raise GenericError(f"Invalid parameter '{name}'")
        typed[name] = _value(name, text, kinds[name])
    return typed


def _sections(text: str) -> Iterator[Section]:
    section: Section | None = None
    for line in _lines(text):
        if line[0] in "\n#":
            continue
        found = _section(line)
        if found is not None:
            if section is not None:
                yield section
            section = found
            continue
        option = _OPTION.match(line) or _EMPTY_OPTION.match(line)
        if option is None:
            raise GenericError("parse error")
        if section is None:
            raise GenericError("no group defined")
        section[2][option[1]] = option[2] if option.lastindex == 2 else ""
    if section is not None:
        yield section


def _section(line: str) -> Section | None:
    if (match := _SECTION_WITH_ID.match(line)) is not None:
        return match[1], match[2], {}
    match = _SECTION.match(line)
    return None if match is None else (match[1], None, {})


def _lines(text: str) -> Iterator[str]:
    for whole in re.findall(r"[^\n]*\n|[^\n]+", text):
        for start in range(0, len(whole), _LINE):
            yield whole[start : start + _LINE]


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        return parse_option_bool(name, text)
    if kind is int:
        number = parse_option_number(name, text)
        return number - (1 << 64) if number >> 63 else number
    return text

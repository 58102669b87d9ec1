"""QEMU's configuration files: sections of options (``qemu_config_parse``).

The rest of a line after a section header or an option is ignored.  A line that is neither is taken
for the name of an option with an empty value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

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


class Wrong(NamedTuple):
    """What is wrong with a line, and its number."""

    text: str
    line: int


class Section(NamedTuple):
    """A group of options, as it is written.

    :param group: its name; None: these are lines before the first section
    :param ident: what its header says of an id
    :param options: names, values and the numbers of their lines
    :param header: the number of its header's line
    :param line: that of the last option so far, of this section or of one before; None without one
    :param wrong: what ends the file before its end
    :param followed: whether another section follows
    """

    group: str | None
    ident: str | None
    options: list[tuple[str, str, int]]
    header: int
    line: int | None = None
    wrong: Wrong | None = None
    followed: bool = False


def parse_config(
    text: str, groups: Mapping[str, Mapping[str, type]]
) -> list[tuple[str, dict[str, Any]]]:
    """Parse a file into its sections: group and options of each, in their order.

    :param groups: the known groups, with the types of their options
    :raises GenericError: with QEMU's text
    """
    sections: list[tuple[str, dict[str, Any]]] = []
    known: set[tuple[str, str]] = set()
    for section in sections_of(text):
        if section.wrong is not None:
            raise GenericError(section.wrong.text)
        group, ident = str(section.group), section.ident
        if group not in groups:
            raise GenericError(f"There is no option group '{group}'")
        if ident is not None:
            check_id(ident)
            if (group, ident) in known:
                raise GenericError(f"Duplicate ID '{ident}' for {group}")
            known.add((group, ident))
        values = {name: value for name, value, _ in section.options}
        sections.append((group, _typed(values, groups[group])))
    return sections


def _typed(options: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    typed = {}
    for name, text in QDict(options).items():
        if name not in kinds:
            raise GenericError(f"Invalid parameter '{name}'")
        typed[name] = _value(name, text, kinds[name])
    return typed


def sections_of(text: str) -> Iterator[Section]:
    """The sections of a file; the last one says what is wrong with the rest."""
    section = Section(None, None, [], 0)
    last: int | None = None
    for number, line in enumerate(_lines(text), 1):
        if line[0] in "\n#":
            continue
        found = _section(line, number)
        if found is not None:
            if section.group is not None:
                yield section._replace(line=last, followed=True)
            section = found
            continue
        last = number
        option = _OPTION.match(line) or _EMPTY_OPTION.match(line)
        if option is None or section.group is None:
            wrong = Wrong("parse error" if option is None else "no group defined", number)
            yield section._replace(line=last, wrong=wrong)
            return
        section.options.append((option[1], option[2] if option.lastindex == 2 else "", number))
    if section.group is not None:
        yield section._replace(line=last)


def _section(line: str, number: int) -> Section | None:
    if (match := _SECTION_WITH_ID.match(line)) is not None:
        return Section(match[1], match[2], [], number)
    match = _SECTION.match(line)
    return None if match is None else Section(match[1], None, [], number)


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

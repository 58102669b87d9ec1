"""QemuOpts: ``value,key=value,flag,noflag``, flat, with types from tables (util/qemu-option.c)."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from qmpd.base import scalars
from qmpd.base.identifiers import check_id
from qmpd.base.scalars import SizeForm
from qmpd.errors import GenericError

Warn = Callable[[str, str | None], None]
"""Takes the text of a warning, and its hint: further lines without the last newline."""

_NAME: Final = re.compile("[^=,]*")
_VALUE: Final = re.compile("[^,]*(?:,,[^,]*)*+")
"""A value, in which a comma is doubled."""

SIZE_HINT: Final = (
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
    "and exabytes, respectively."
)


class Kind(Enum):
    """The type of a parameter; the values are the words of QEMU's help."""

    STRING = "str"
    BOOL = "bool (on/off)"
    NUMBER = "num"
    SIZE = "size"


class OptionGroup(NamedTuple):
    """The parameters of one option (``-chardev``, ``-mon``, ...).

    :param name: QEMU's name of the group, used in messages
    :param implied: the key of a first value without a key
    :param kinds: the parameters; None accepts any name, with string values
    :param merge: whether repeated options are merged into one, which then has no id
    """

    name: str
    implied: str | None
    kinds: dict[str, Kind] | None
    merge: bool = False


@dataclass
class Opts:
    """The parameters of one use of an option (``QemuOpts``).

    :param values: parameters in the order given; a repeated one appears repeatedly
    """

    group: OptionGroup
    id: str | None = None
    values: list[tuple[str, str]] = field(default_factory=list)
    wants_help: bool = False

    def get(self, name: str) -> str | None:
        """The last value given for a parameter, None without one."""
        for key, value in reversed(self.values):
            if key == name:
                return value
        return None

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter, or `default`."""
        value = self.get(name)
        return default if value is None else parse_option_bool(name, value)

    def number(self, name: str, default: int | None = None) -> int | None:
        """A number parameter, or `default`."""
        value = self.get(name)
        return default if value is None else parse_option_number(name, value)

    def size(self, name: str, default: int) -> int:
        """A number of bytes, or `default`."""
        value = self.get(name)
        return default if value is None else parse_option_size(name, value)

    def set(self, name: str, value: str) -> None:
        """Add a parameter.

        :raises GenericError: the group lacks the parameter, or the value is wrong
        """
        kinds = self.group.kinds
        if kinds is not None:
            if name not in kinds:
                raise GenericError(f"Invalid parameter '{name}'")
            _CHECKS[kinds[name]](name, value)
        self.values.append((name, value))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.values)

    def to_dict(self) -> dict[str, str]:
        """The parameters and the id (``qemu_opts_to_qdict``); the last of a repeated one."""
        values = dict(self.values)
        return values if self.id is None else values | {"id": self.id}


def parse_option_bool(name: str, value: str) -> bool:
    """Read on or off (and their synonyms).

    :raises GenericError: it is neither on nor off on nor off
    """
    try:
        return scalars.parse_bool(value)
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects 'on' or 'off'") from None


def parse_option_number(name: str, value: str) -> int:
    """Read an unsigned 64-bit number, decimal, octal or hexadecimal.

    :raises GenericError: it is not a number
    """
    try:
        return scalars.parse_uint64(value)
    except scalars.TooLarge:
        text = f"Value '{value}' is too large for parameter '{name}'"
        raise GenericError(text) from None
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects a number") from None


def parse_option_size(name: str, value: str, form: SizeForm = SizeForm.PLAIN) -> int:
    """Read a number of bytes with an optional suffix.

    :param form: how it is written
    :raises GenericError: it is not a size
    """
    try:
        return scalars.parse_size(value, form=form)
    except scalars.TooLarge:
        text = f"Value '{value}' is out of range for parameter '{name}'"
        raise GenericError(text) from None
    except ValueError:
        raise GenericError(
            f"Parameter '{name}' expects a non-negative number below 2^64", SIZE_HINT
        ) from None


def _any_string(name: str, value: str) -> object:
    return value


_CHECKS: Final[dict[Kind, Callable[[str, str], object]]] = {
    Kind.STRING: _any_string,
    Kind.BOOL: parse_option_bool,
    Kind.NUMBER: parse_option_number,
    Kind.SIZE: parse_option_size,
}


def value_until_comma(text: str, start: int = 0) -> tuple[str, int]:
    """The value at `start`, ``,,`` standing for a comma, and where the next parameter begins."""
    match = _VALUE.match(text, start)
    assert match is not None
    return match[0].replace(",,", ","), match.end() + 1


def silent(_text: str, _hint: str | None) -> None:
    """Warn of nothing: it has been done, or the real program does not."""


def _pairs(text: str, implied: str | None, warn: Warn) -> Iterator[tuple[str, str] | None]:
    """The parameters of `text`; None where help is asked for."""
    start = 0
    while start < len(text):
        match = _NAME.match(text, start)
        assert match is not None
        name, end = match[0], match.end()
        if text[end : end + 1] == "=":
            value, start = value_until_comma(text, end + 1)
            yield name, value
        elif name in ("help", "?"):
            yield None
            start = end + 1
        elif implied is not None:
            value, start = value_until_comma(text, start)
            yield implied, value
        else:
            yield _flag(name, warn)
            start = end + 1
        implied = None


def _flag(word: str, warn: Warn) -> tuple[str, str]:
    name, value = (word[2:], "off") if word.startswith("no") else (word, "on")
    # nodelay is a parameter of its own, although delay is one too
    instead = f"nodelay={'on' if value == 'off' else 'off'}" if name == "delay" else None
    warn(
        f"short-form boolean option '{word}' deprecated",
        f"Please use {instead or f'{name}={value}'} instead",
    )
    return name, value


def parse_opts(
    group: OptionGroup,
    text: str,
    warn: Warn,
    *,
    implied: bool = True,
    into: Opts | None = None,
    ids: Container[str] = (),
) -> Opts:
    """Parse one use of an option (``qemu_opts_parse_noisily``).

    :param implied: whether a first value may stand without its key
    :param into: merge with this earlier use
    :param ids: the ids of earlier uses
    :raises GenericError: with QEMU's text
    """
    opts = Opts(group) if into is None else into
    first = group.implied if implied else None
    # an id is looked for as if every value had its key
    for pair in _pairs(text, None, silent):
        if pair is not None and pair[0] == "id":
            if group.merge:
                raise GenericError("Invalid parameter 'id'")
            check_id(pair[1])
            if pair[1] in ids:
                raise GenericError(f"Duplicate ID '{pair[1]}' for {group.name}")
            opts.id = pair[1]
            break
    for pair in _pairs(text, first, warn):
        if pair is None:
            opts.wants_help = True
        elif pair[0] != "id":
            opts.set(*pair)
    return opts


def help_text(group: OptionGroup) -> str:
    """The list of parameters that ``help`` prints (``qemu_opts_print_help``)."""
    lines = [f"{group.name} options:"]
    lines += [f"  {name}=<{kind.value}>" for name, kind in sorted((group.kinds or {}).items())]
    return "\n".join(lines) + "\n"

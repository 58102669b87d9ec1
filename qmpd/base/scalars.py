"""Scalars that arrive as strings: in command line options, configuration files and HMP.

They follow QEMU's wrappers of strtoll and strtod (util/cutils.c).  All but `read_size` fail unless
they use the whole string.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Final

_INTEGER = r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))"
_NUMBER = r"[ \t\n\v\f\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_SIZE = (
    r"[ \t\n\v\f\r]*\+?"
    r"(?:0[xX]([0-9a-fA-F]+)|(?=\.?[0-9])([0-9]*)(\.[0-9]*)?)([bBkKmMgGtTpPeE]?)"
)
_SIZE_OF_DIGITS = (
    r"[ \t\n\v\f\r]*\+?"
    r"(?:0[xX]([0-9a-fA-F]+)|([0-9]+)(?!\.[0-9]+[eE][+-]?[0-9])(\.[0-9]*)?)([bBkKmMgGtTpPeE]?)"
)
_STRTOD = (
    r"[ \t\n\v\f\r]*([+-]?)"
    r"(?:(0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)"
    r"|((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
)
_NEGATIVE = r"[ \t\n\v\f\r]*-[0-9]+"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Made when it is first used: a program starts sooner without."""
    return re.compile(pattern)


_BOOLEANS: Mapping[str, bool] = {
    "on": True,
    "yes": True,
    "true": True,
    "y": True,
    "off": False,
    "no": False,
    "false": False,
    "n": False,
}


class TooLarge(ValueError):
    """A number is out of the range of its type.

    :param end: the position after it
    """

    def __init__(self, text: str, end: int) -> None:
        super().__init__(text)
        self.end = end


_MANY_DIGITS: Final = 100
"""More than anything holds that a number is read for."""
_TOO_MUCH: Final = 1 << 4 * _MANY_DIGITS


def decimal_number(text: str) -> int:
    """The number that ASCII decimal digits stand for, however many there are; may have a sign.

    Python refuses some thousands of them, and takes long for fewer.  A number that nothing can hold
    is given as another one that nothing can hold.
    """
    digits = text.lstrip("+-0")
    number = _TOO_MUCH if len(digits) > _MANY_DIGITS else int(digits or "0")
    return -number if text.startswith("-") else number


def parse_bool(text: str) -> bool:
    """Parse a boolean (``qapi_bool_parse``): on, yes, true, y, or their opposites.

    :raises ValueError: it is not a boolean
    """
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise ValueError(text) from None


def _parse_integer(text: str) -> tuple[bool, int]:
    """Sign and magnitude of an integer in C's notation (decimal, 0x..., 0...)."""
    match = _compiled(_INTEGER).fullmatch(text)
    if match is None:
        raise ValueError(text)
    sign, hexadecimal, octal, decimal = match.groups()
    if hexadecimal is not None:
        magnitude = int(hexadecimal, 16)
    elif octal is not None:
        magnitude = int(octal, 8)
    else:
        magnitude = decimal_number(decimal)
    return sign == "-", magnitude


def parse_int64(text: str) -> int:
    """Parse a signed 64-bit integer (``qemu_strtoi64``).

    :raises ValueError: it is not an integer, or out of range
    """
    negative, magnitude = _parse_integer(text)
    value = -magnitude if negative else magnitude
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def parse_uint64(text: str) -> int:
    """Parse an unsigned 64-bit integer (``qemu_strtou64``); a negative one wraps around.

    :raises TooLarge: it does not fit into 64 bits
    :raises ValueError: it is not an integer
    """
    negative, magnitude = _parse_integer(text)
    if magnitude >= 2**64:
        raise TooLarge(text, len(text))
    return (-magnitude if negative else magnitude) % 2**64


def parse_number(text: str) -> float:
    """Parse a finite number (``qemu_strtod_finite``).

    :raises ValueError: it is not a finite number
    """
    if _compiled(_NUMBER).fullmatch(text) is None:
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


class SizeForm(Enum):
    """How sizes are written, which has not been the same in all versions of QEMU."""

    PLAIN = "plain"
    """As `read_size` says."""
    DIGITS = "digits"
    """The same, but hexadecimal may have a suffix, and a point must follow a digit."""
    STRTOD = "strtod"
    """A number of C's strtod, and a suffix; what is less than a byte is cut off."""


def read_size(
    text: str, position: int = 0, unit: str = "B", form: SizeForm = SizeForm.PLAIN
) -> tuple[int, int]:
    """Read a size in bytes: ``512``, ``0x200``, ``1.5k``, ``2G`` (qemu_strtosz).

    Suffixes are powers of 1024; hexadecimal takes none.  A fraction is rounded to whole bytes;
    without a suffix there must be none.

    :param unit: the suffix to assume if there is none
    :param form: how it is written
    :returns: the size, and the position after it
    :raises TooLarge: it is negative or does not fit into 64 bits
    :raises ValueError: there is no size
    """
    if form is SizeForm.STRTOD:
        return _read_strtod_size(text, position, unit)
    match = _compiled(_SIZE if form is SizeForm.PLAIN else _SIZE_OF_DIGITS).match(text, position)
    if match is None:
        if form is SizeForm.DIGITS:
            raise ValueError(text)
        negative = _compiled(_NEGATIVE).match(text, position)
        raise ValueError(text) if negative is None else TooLarge(text, negative.end())
    hexadecimal, whole, fraction, suffix = match.groups()
    magnitude = int(hexadecimal, 16) if hexadecimal else decimal_number(whole or "0")
    if magnitude >= 2**64:
        raise TooLarge(text, match.end(1 if hexadecimal else 2))
    fraction = (fraction or "").removeprefix(".")
    scale = 1024 ** "BKMGTPE".index((suffix or unit).upper())
    if (hexadecimal and suffix and form is SizeForm.PLAIN) or (fraction.strip("0") and scale == 1):
        raise ValueError(text)
    size = magnitude * scale + int(float(f"0.{fraction}") * scale + 0.5)
    if size >= 2**64:
        raise TooLarge(text, match.end())
    return size, match.end()


_LARGEST_DOUBLE: Final = float((1 << 64) - (1 << 11))
"""The largest number below 2**64 that a C ``double`` holds."""


def _read_strtod_size(text: str, position: int, unit: str) -> tuple[int, int]:
    match = _compiled(_STRTOD).match(text, position)
    if match is None:
        raise ValueError(text)
    sign, hexadecimal, decimal = match.groups()
    try:
        value = float.fromhex(hexadecimal) if hexadecimal else float(decimal)
    except OverflowError:
        value = math.inf
    end = match.end()
    suffix = text[end : end + 1].upper()
    if suffix and suffix in "BKMGTPE":
        end += 1
    else:
        suffix = unit
    scale = 1024 ** "BKMGTPE".index(suffix)
    if value == math.inf:
        raise TooLarge(text, match.end())
    if scale == 1 and value % 1:
        raise ValueError(text)
    if value * scale > _LARGEST_DOUBLE or (sign == "-" and value):
        raise TooLarge(text, end)
    return int(value * scale), end


def parse_size(text: str, form: SizeForm = SizeForm.PLAIN) -> int:
    """Parse a size in bytes, see `read_size`.

    :raises TooLarge: it is negative or does not fit into 64 bits
    :raises ValueError: it is not a size
    """
    try:
        size, end = read_size(text, form=form)
    except TooLarge as error:
        if error.end != len(text):
            raise ValueError(text) from None
        raise
    if end != len(text):
        raise ValueError(text)
    return size

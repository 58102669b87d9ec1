"""Scalars that arrive as strings: in command line options, configuration files and HMP.

They follow QEMU's wrappers of strtoll and strtod (util/cutils.c).  All but `read_size` fail unless
they use the whole string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SIZE = re.compile(
    r"[ \t\n\v\f\r]*\+?"
    r"(?:0[xX]([0-9a-fA-F]+)|(?=\.?[0-9])([0-9]*)(\.[0-9]*)?)([bBkKmMgGtTpPeE]?)"
)
_NEGATIVE = re.compile(r"[ \t\n\v\f\r]*-[0-9]+")

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
    match = _INTEGER.fullmatch(text)
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
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def read_size(text: str, position: int = 0, unit: str = "B") -> tuple[int, int]:
    """Read a size in bytes: ``512``, ``0x200``, ``1.5k``, ``2G`` (qemu_strtosz).

    Suffixes are powers of 1024; hexadecimal takes none.  A fraction is rounded to whole bytes;
    without a suffix there must be none.

    :param unit: the suffix to assume if there is none
    :returns: the size, and the position after it
    :raises TooLarge: it is negative or does not fit into 64 bits
    :raises ValueError: there is no size
    """
    match = _SIZE.match(text, position)
    if match is None:
        negative = _NEGATIVE.match(text, position)
        raise ValueError(text) if negative is None else TooLarge(text, negative.end())
    hexadecimal, whole, fraction, suffix = match.groups()
    magnitude = int(hexadecimal, 16) if hexadecimal else decimal_number(whole or "0")
    if magnitude >= 2**64:
        raise TooLarge(text, match.end(1 if hexadecimal else 2))
    fraction = (fraction or "").removeprefix(".")
    scale = 1024 ** "BKMGTPE".index((suffix or unit).upper())
    if (hexadecimal and suffix) or (fraction.strip("0") and scale == 1):
        raise ValueError(text)
    size = magnitude * scale + int(float(f"0.{fraction}") * scale + 0.5)
    if size >= 2**64:
        raise TooLarge(text, match.end())
    return size, match.end()


def parse_size(text: str) -> int:
    """Parse a size in bytes, see `read_size`.

    :raises TooLarge: it is negative or does not fit into 64 bits
    :raises ValueError: it is not a size
    """
    try:
        size, end = read_size(text)
    except TooLarge as error:
        if error.end != len(text):
            raise ValueError(text) from None
        raise
    if end != len(text):
        raise ValueError(text)
    return size

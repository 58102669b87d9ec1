"""Scalars as QEMU reads them from ``key=value`` command line options.

There every scalar arrives as a string; these functions follow C's strtoll and
strtod as QEMU wraps them: the whole string must be used up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SIZE = re.compile(r"[ \t\n\v\f\r]*\+?([0-9]*)(\.[0-9]*)?([bBkKmMgGtTpPeE]?)")
_HEX_SIZE = re.compile(r"[ \t\n\v\f\r]*\+?0[xX]([0-9a-fA-F]+)")

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


def parse_bool(text: str) -> bool:
    """A boolean, written in one of the four ways; ValueError for anything else."""
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
        magnitude = int(decimal)
    return sign == "-", magnitude


def parse_int64(text: str) -> int:
    """A signed 64 bit integer; ValueError when it is none or out of range."""
    negative, magnitude = _parse_integer(text)
    value = -magnitude if negative else magnitude
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def parse_uint64(text: str) -> int:
    """An unsigned 64 bit integer; a negative one wraps around, as strtoull has it."""
    negative, magnitude = _parse_integer(text)
    if magnitude >= 2**64:
        raise ValueError(text)
    return (-magnitude if negative else magnitude) % 2**64


def parse_number(text: str) -> float:
    """A finite number; ValueError for anything else."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def parse_size(text: str) -> int:
    """A size in bytes: ``512``, ``0x200``, ``1.5k``, ``2G``; ValueError for anything else.

    Suffixes are powers of 1024; a fraction needs one and is rounded to whole bytes.
    """
    if match := _HEX_SIZE.fullmatch(text):
        value = int(match[1], 16)
    else:
        match = _SIZE.fullmatch(text)
        if match is None or not (match[1] or len(match[2] or "") > 1):
            raise ValueError(text)
        scale = 1024 ** "BKMGTPE".index(match[3].upper() or "B")
        fraction = (match[2] or "").removeprefix(".")
        if fraction.strip("0") and scale == 1:
            raise ValueError(text)
        value = int(match[1] or "0") * scale + int(float(f"0.{fraction}") * scale + 0.5)
    if value >= 2**64:
        raise ValueError(text)
    return value

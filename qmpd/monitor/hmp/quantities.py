"""Numbers as qemu-io reads and writes them."""

from __future__ import annotations

import re
from typing import Final

from qmpd.base import scalars
from qmpd.base.scalars import SizeForm, decimal_number
from qmpd.monitor.hmp.line import UsageError

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def cvtnum(text: str, form: SizeForm = SizeForm.PLAIN) -> int:
    """A size or offset in bytes: decimal or hex, with a suffix from B to E of 1024s (``cvtnum``).

    :param form: how sizes are written
    :raises UsageError: it is not a size, or too large
    """
    too_large = UsageError(f"Parsing error: argument too large -- {text}\n")
    try:
        size = scalars.parse_size(text, form)
    except scalars.TooLarge:
        raise too_large from None
    except ValueError:
        raise UsageError(
            f"Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {text}\n"
        ) from None
    if size >= 2**63:
        raise too_large
    return size


def parse_pattern(text: str) -> int:
    """A byte: decimal, octal (0...) or hex (0x...).

    :raises UsageError: it is not a byte
    """
    match = re.match(r"\s*[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)\Z", text)
    if match is not None:
        digits = match.group(1)
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
        value = decimal_number(digits) if base == 10 else int(digits, base)
        if "-" not in text and value <= 0xFF:
            return value
    raise UsageError(f"{text} is not a valid pattern byte\n")


def quantity(value: float) -> str:
    """`value` bytes with the largest unit that fits, three decimals unless whole."""
    for power in range(len(_UNITS), 0, -1):
        if value >= 1024**power:
            text, unit = f"{value / 1024**power:.3f}", _UNITS[power - 1]
            break
    else:
        text, unit = f"{value:f}", "bytes"
    whole, _, decimals = text.partition(".")
    if decimals.startswith("000"):
        text = whole
    return f"{text} {unit}"


def human_size(value: int) -> str:
    """`value` bytes in three significant digits, as qemu-img shows sizes."""
    for power in range(len(_UNITS), 0, -1):
        # the next unit is taken from 1000 on, where three digits would not do
        if value / 1024 ** (power - 1) >= 1000:
            return f"{value / 1024**power:.3g} {_UNITS[power - 1]}"
    return f"{value:.3g} B"

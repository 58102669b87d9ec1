"""Values of properties in words, as QEMU's visitor of strings writes them for people."""

from __future__ import annotations

from typing import Any, Final

_UNITS: Final = "BKMGTPE"


def quoted(text: str) -> str:
    """A text in its quotes."""
    return f'"{text}"'


def size_words(size: int) -> str:
    """A number of bytes, and about how much that is (``size_to_str``)."""
    power = 0
    while power + 1 < len(_UNITS) and size >= 1000 << 10 * power:
        power += 1
    unit = _UNITS[power] + ("iB" if power else "")
    return f"{size} ({size / (1 << 10 * power):.3g} {unit})"


def worded(type_name: str, value: Any) -> str:
    """A value of a QOM type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if type_name == "size":
            return size_words(value)
        signed = value - (1 << 64) if value >> 63 == 1 else value
        return f"{signed} ({value & (1 << 64) - 1:#x})"
    if isinstance(value, list | tuple):
        # the visitor leaves out what is inside of structures
        return ",".join(["<omitted>"] * len(value)) or "<null>"
    return quoted(str(value))

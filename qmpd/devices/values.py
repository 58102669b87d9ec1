"""Values of device properties: reading what is set, as QEMU's visitors do."""

from __future__ import annotations

import re
from typing import Any, Final

from qmpd.errors import GenericError, NotServed

INTEGERS: Final = {
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
}
"""Ranges of the integer types that have one of their own."""

WIDE: Final = ("uint64", "size", "int", "int64")
"""Integer types that take any 64 bits."""

ENUMS: Final = {
    "OnOffAuto": ("auto", "on", "off"),
    "BlockdevOnError": ("report", "ignore", "enospc", "stop", "auto"),
    "BiosAtaTranslation": ("auto", "none", "lba", "large", "rechs"),
    "FdcDriveType": ("144", "288", "120", "none", "auto"),
    "OffAutoPCIBAR": ("off", "auto", "bar0", "bar1", "bar2", "bar3", "bar4", "bar5"),
}

BLOCK_SIZES: Final = ("logical_block_size", "physical_block_size")
"""Properties of type size that take powers of two only."""

LIMITED_SIZES: Final = ("min_io_size", "opt_io_size", "discard_granularity")
"""Properties of type size that have 32 bits."""

_SIZE: Final = re.compile(r"(0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?)([bkmgtpeBKMGTPE]?)\Z")
_UNITS: Final = "bkmgtpe"
_MASK: Final = 2**64 - 1


def read_value(qom_type: str, name: str, kind: str, value: Any, *, keyval: bool) -> Any:
    """`value` as property `name` of type `kind` takes it.

    :param qom_type: the type whose property it is
    :param value: JSON, or text where `keyval`
    :raises GenericError: it does not fit
    :raises NotServed: properties of this type cannot be set here
    """
    if kind == "bool":
        return _read_bool(name, value, keyval=keyval)
    if kind in INTEGERS or kind in WIDE:
        return _read_integer(qom_type, name, kind, value, keyval=keyval)
    if kind in ENUMS:
        text = read_string(name, value)
        if text not in ENUMS[kind]:
            raise GenericError(f"Parameter '{name}' does not accept value '{text}'")
        return text
    if kind in ("str", "string"):
        return read_string(name, value)
    raise NotServed(f"qmpd does not set property '{qom_type}.{name}'")


def read_string(name: str, value: Any) -> str:
    """A value that has to be a string."""
    if not isinstance(value, str):
        raise GenericError(f"Invalid parameter type for '{name}', expected: string")
    return value


def _read_bool(name: str, value: Any, *, keyval: bool) -> bool:
    if keyval:
        if value not in ("on", "off", "yes", "no", "true", "false", "y", "n"):
            raise GenericError(f"Parameter '{name}' expects 'on' or 'off'")
        return value in ("on", "yes", "true", "y")
    if not isinstance(value, bool):
        raise GenericError(f"Invalid parameter type for '{name}', expected: boolean")
    return value


def _read_integer(qom_type: str, name: str, kind: str, value: Any, *, keyval: bool) -> int:
    if keyval:
        number = _from_text(name, kind, value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif kind.startswith("int"):
        raise GenericError(f"Invalid parameter type for '{name}', expected: integer")
    else:
        raise GenericError(f"Parameter '{name}' expects uint64")
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        if not low <= number <= high:
            raise GenericError(f"Parameter '{name}' expects {kind}_t")
        return number
    number &= _MASK
    if name in BLOCK_SIZES:
        # zero leaves the size to the backend
        if number and (not 512 <= number <= 2 << 20 or number & (number - 1)):
            raise GenericError(
                f"parameter {name} must be a power of 2 between 512 and {2 << 20}"
            )
    elif name in LIMITED_SIZES and number >> 32:
        raise GenericError(
            f"Property {qom_type}.{name} doesn't take value {number} (maximum: {2**32 - 1})"
        )
    return number


def _from_text(name: str, kind: str, text: str) -> int:
    if kind == "size":
        match = _SIZE.match(text)
        if match is None:
            raise GenericError(f"Parameter '{name}' expects size")
        number, unit = match.groups()
        factor = 1024 ** _UNITS.index(unit.lower() or "b")
        if number[:2].lower() == "0x":
            return int(number, 16) * factor
        return int(float(number) * factor) if "." in number else int(number) * factor
    try:
        return int(text, 0) if text.lower().lstrip("+-").startswith("0x") else _decimal(text)
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects integer") from None


def _decimal(text: str) -> int:
    digits = text.lstrip("+-")
    return int(text, 8) if digits.startswith("0") and digits.strip("0") else int(text)

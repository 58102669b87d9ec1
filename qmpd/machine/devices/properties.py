"""Values of device properties, as device_add and -device give them."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from qmpd.base.scalars import decimal_number
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import parse_option_size

if TYPE_CHECKING:
    from qmpd.profile.rules import Rules

UNSIGNED: Final = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64, "size": 64}
"""Unsigned integer types, and their bits."""

_FLOPPIES: Final = ("144", "288", "120", "none", "auto")

ENUMS: Final = {
    "OnOffAuto": ("auto", "on", "off"),
    "BlockdevOnError": ("report", "ignore", "enospc", "stop", "auto"),
    "BiosAtaTranslation": ("auto", "none", "lba", "large", "rechs"),
    "FloppyDriveType": _FLOPPIES,
    "FdcDriveType": _FLOPPIES,
    "PCIELinkSpeed": ("2_5", "5", "8", "16", "32", "64"),
    "PCIELinkWidth": ("1", "2", "4", "8", "12", "16", "32"),
    "SpdmTransportType": ("unspecified", "mctp", "doe", "scsi", "nvme"),
}

DEFAULTS: Final = {
    "bool": False,
    "int32": 0,
    "busnr": 0,
    "IOThreadVirtQueueMappingList": (),
} | dict.fromkeys(UNSIGNED, 0)
"""Values of properties without a default, by type; "" for other types."""

POWERS_OF_TWO: Final = ("logical_block_size", "physical_block_size")
LIMITED: Final = ("min_io_size", "opt_io_size", "discard_granularity")
"""Properties of type size that have 32 bits."""

_LARGEST_BLOCK: Final = 2 << 20
_TRUE: Final = ("on", "yes", "true", "y")
_FALSE: Final = ("off", "no", "false", "n")
_SIZE: Final = re.compile(r"(0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?)([bkmgtpeBKMGTPE]?)\Z", re.ASCII)
_NUMBER: Final = re.compile(r"\s*[+-]?(0[xX][0-9a-fA-F]+|\d+)\Z", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)(?:\.(?:0[xX])?([0-9a-fA-F]+))?\Z")


class Owner(Protocol):
    """The device that has a property, as messages name it."""

    @property
    def model(self) -> str:
        """The name of its model."""

    @property
    def id(self) -> str | None:
        """Its id; None for one without."""


class Form(Enum):
    """How a value is given: which of QEMU's visitors reads it."""

    JSON = auto()
    OPTION = auto()
    """The text of an option (``qobject_input_visitor_new_keyval``)."""
    TEXT = auto()
    """A single text (``string_input_visitor_new``), with words of its own for numbers."""


def read_property(
    device: Owner, name: str, type_name: str, value: Any, form: Form, rules: Rules
) -> Any:
    """Convert `value` to the type of a property.

    :param device: for messages
    :param rules: of the version of QEMU
    :raises GenericError: it does not have the property's type
    """
    keyval = form is not Form.JSON
    if form is Form.TEXT and (type_name in UNSIGNED or type_name == "int32") and name != "addr":
        return _number_of_text(device, name, type_name, value, rules)
    if name == "addr":
        return _address(device.model, value, keyval=keyval)
    if type_name == "bool":
        return _boolean(name, value, keyval=keyval)
    if type_name in UNSIGNED:
        number = _unsigned(name, type_name, value, keyval=keyval)
        return _check_block_size(device, name, number, rules) if type_name == "size" else number
    if type_name == "int32":
        return _signed(name, value, keyval=keyval)
    if type_name == "IOThreadVirtQueueMappingList":
        return _mapping(name, value)
    text = read_text(name, value)
    if type_name in ENUMS and text not in ENUMS[type_name]:
        raise GenericError(f"Parameter '{name}' does not accept value '{text}'")
    return text


def _number_of_text(device: Owner, name: str, type_name: str, text: str, rules: Rules) -> int:
    if type_name == "size":
        return _check_block_size(device, name, parse_option_size(name, text, rules.sizes), rules)
    try:
        if type_name == "int32":
            return _signed(name, text, keyval=True)
        return _unsigned(name, type_name, text, keyval=True)
    except GenericError as error:
        expected = "int64" if type_name == "int32" else "uint64"
        text = error.desc.replace("expects integer", f"expects {expected}")
        raise GenericError(text) from None


def read_text(name: str, value: Any) -> str:
    """Check that a value is a string.

    :raises GenericError: it is not a string
    """
    if not isinstance(value, str):
        raise _wrong_type(name, "string")
    return value


def _wrong_type(name: str, expected: str) -> GenericError:
    return GenericError(f"Invalid parameter type for '{name}', expected: {expected}")


def _boolean(name: str, value: Any, *, keyval: bool) -> bool:
    if keyval:
        if value not in _TRUE + _FALSE:
            raise GenericError(f"Parameter '{name}' expects 'on' or 'off'")
        return value in _TRUE
    if not isinstance(value, bool):
        raise _wrong_type(name, "boolean")
    return value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unsigned(name: str, type_name: str, value: Any, *, keyval: bool) -> int:
    if keyval:
        number = _read_size(name, value) if type_name == "size" else _read_number(name, value)
    elif _is_integer(value):
        number = value
    else:
        raise GenericError(f"Parameter '{name}' expects uint64")
    bits = UNSIGNED[type_name]
    if bits == 64:
        return number & (1 << 64) - 1
    if not 0 <= number < 1 << bits:
        raise GenericError(f"Parameter '{name}' expects {type_name}_t")
    return number


def _signed(name: str, value: Any, *, keyval: bool) -> int:
    if keyval:
        value = _read_number(name, value)
    elif not _is_integer(value):
        raise _wrong_type(name, "integer")
    if not -(1 << 31) <= value < 1 << 31:
        raise GenericError(f"Parameter '{name}' expects int32_t")
    return int(value)


def _read_number(name: str, text: str) -> int:
    if _NUMBER.match(text):
        digits = text.strip().lower()
        octal = digits.lstrip("+-").startswith("0") and "x" not in digits
        try:
            number = _whole(digits, 8 if octal else 0)
        except ValueError:
            number = 1 << 64
        if -(1 << 63) <= number < 1 << 64:
            return number
    raise GenericError(f"Parameter '{name}' expects integer")


def _whole(digits: str, base: int) -> int:
    if base == 0 and digits.lstrip("+-").isdecimal():
        return decimal_number(digits)
    return int(digits, base)


def _read_size(name: str, text: str) -> int:
    match = _SIZE.match(text)
    if match is not None:
        digits, unit = match.groups()
        factor = 1 << 10 * "bkmgtpe".index(unit.lower() or "b")
        number = int(float(digits) * factor) if "." in digits else _whole(digits, 0) * factor
        if number < 1 << 64:
            return number
    raise GenericError(f"Parameter '{name}' expects size")


def _check_block_size(device: Owner, name: str, number: int, rules: Rules) -> int:
    if name in POWERS_OF_TWO and number:
        # zero leaves it to the backend
        if rules.holds("block-sizes-are-checked-twice"):
            _check_twice(f"{device.id or ''}.{name}", number)
        elif not 512 <= number <= _LARGEST_BLOCK or number & (number - 1):
            raise GenericError(
                f"parameter {name} must be a power of 2 between 512 and {_LARGEST_BLOCK}"
            )
    elif name in LIMITED and number >> 32:
        owner = (device.id or "") if rules.holds("sizes-name-the-id") else device.model
        raise GenericError(
            f"Property {owner}.{name} doesn't take value {number} (maximum: {(1 << 32) - 1})"
        )
    return number


def _check_twice(name: str, number: int) -> None:
    if not 512 <= number <= _LARGEST_BLOCK:
        raise GenericError(
            f"Property {name} doesn't take value {number} (minimum: 512, maximum: {_LARGEST_BLOCK})"
        )
    if number & (number - 1):
        raise GenericError(f"Property {name} doesn't take value '{number}', it's not a power of 2")


def _mapping(name: str, value: Any) -> list[dict[str, Any]]:
    return [_read_entry(f"{name}[{i}]", entry) for i, entry in enumerate(_list(name, value))]


def _read_entry(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_type(name, "object")
    if "iothread" not in value:
        raise GenericError(f"Parameter '{name}.iothread' is missing")
    thread = value["iothread"]
    if not isinstance(thread, str):
        raise _wrong_type(f"{name}.iothread", "string")
    entry: dict[str, Any] = {"iothread": thread}
    if "vqs" in value:
        entry["vqs"] = _list(f"{name}.vqs", value["vqs"])
        for i, queue in enumerate(entry["vqs"]):
            if not isinstance(queue, int) or isinstance(queue, bool):
                raise GenericError(f"Parameter '{name}.vqs[{i}]' expects uint64")
            if queue not in range(1 << 16):
                # The name that is missing is missing in QEMU.
                raise GenericError("Parameter 'null' expects uint16_t")
    for other in value:
        if other not in ("iothread", "vqs"):
            raise GenericError(f"Parameter '{name}.{other}' is unexpected")
    return entry


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong_type(name, "array")
    return value


def _address(model: str, value: Any, *, keyval: bool) -> int:
    """Slot and function of a PCI device, as one number: eight functions to a slot."""
    if not keyval and _is_integer(value):
        if not -1 <= value <= 255:
            raise GenericError("Parameter 'addr' expects a value between -1 and 255")
        return int(value)
    if isinstance(value, float):
        raise _wrong_type("addr", "integer")
    if not isinstance(value, str):
        raise GenericError("Invalid parameter type for 'addr', expected int or str")
    match = _ADDRESS.match(value)
    if match is not None:
        slot, function = int(match[1], 16), int(match[2] or "0", 16)
        if slot < 32 and function < 8:
            return slot * 8 + function
    raise GenericError(f"Property '{model}.addr' doesn't take value '{value}'")

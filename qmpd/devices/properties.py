"""Values of device properties, as device_add and -device give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.devices.kinds import ON_ERROR, ON_OFF_AUTO, integer_bits
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.devices.kinds import Kind

_ENUMS: Final = {"OnOffAuto": ON_OFF_AUTO, "BlockdevOnError": ON_ERROR}
_BOOLEANS: Final = {"on": True, "yes": True, "true": True, "y": True} | {
    "off": False,
    "no": False,
    "false": False,
    "n": False,
}

DEFAULTS: Final = {"str": "", "bool": False, "OnOffAuto": "auto", "BlockdevOnError": "auto"}
"""Values of properties that nobody has set, by type."""


def read_property(kind: Kind, name: str, value: Any) -> Any:
    """The value of a property of a device.

    :param value: a JSON value, or the text of a command line
    :raises GenericError: there is no such property, or it is not of its type
    """
    type_name = kind.properties.get(name)
    if type_name is None:
        raise GenericError(f"Property '{kind.name}.{name}' not found")
    if type_name in _ENUMS:
        if not isinstance(value, str):
            raise _wrong_type(name, "string")
        if value not in _ENUMS[type_name]:
            raise GenericError(f"Parameter '{name}' does not accept value '{value}'")
        return value
    if type_name == "bool":
        return _boolean(name, value)
    if integer_bits(type_name) is not None:
        return _integer(kind, name, value, type_name)
    if not isinstance(value, str):
        raise _wrong_type(name, "string")
    return value


def _wrong_type(name: str, expected: str) -> GenericError:
    return GenericError(f"Invalid parameter type for '{name}', expected: {expected}")


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    if isinstance(value, str):
        raise GenericError(f"Parameter '{name}' expects 'on' or 'off'")
    raise _wrong_type(name, "boolean")


def _integer(kind: Kind, name: str, value: Any, type_name: str) -> int:
    signed = type_name.startswith("int")
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            wanted = "int64" if signed else "uint64"
            raise GenericError(f"Parameter '{name}' expects {wanted}") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "integer")
    bits = integer_bits(type_name) or 64
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise GenericError(
            f"Property {kind.name}.{name} doesn't take value {value} (minimum: {low},"
            f" maximum: {high})"
        )
    return value

"""What a balloon tells of a guest that tells it nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device
    from qmpd.profile.rules import Rules

MODEL: Final = "virtio-balloon-device"
PROPERTIES: Final = ("guest-stats", "guest-stats-polling-interval")

_UNKNOWN: Final = 2**64 - 1
_STATS: Final = (
    "swap-in swap-out major-faults minor-faults free-memory total-memory available-memory"
    " disk-caches htlb-pgalloc htlb-pgfail".split(" ")
)
_MORE_STATS: Final = (
    "oom-kills alloc-stalls async-scans direct-scans async-reclaims direct-reclaims".split(" ")
)


def get(device: Device, name: str, rules: Rules) -> Any:
    """The value of a property of `PROPERTIES`.

    :param rules: of the version of QEMU
    """
    if name == "guest-stats":
        more = _MORE_STATS if rules.holds("balloons-tell-of-reclaims") else []
        stats = {f"stat-{stat}": _UNKNOWN for stat in [*_STATS, *more]}
        return {"stats": stats, "last-update": 0}
    return device.values.get(name, 0)


def set_(device: Device, name: str, value: Any) -> None:
    """Set a property of `PROPERTIES`, whenever it is.

    :raises GenericError: it is refused
    """
    if name == "guest-stats":
        raise GenericError(f"Property '{MODEL}.{name}' is not writable")
    if not isinstance(value, int) or isinstance(value, bool):
        raise GenericError(f"Invalid parameter type for '{name}', expected: integer")
    if value < 0:
        raise GenericError("timer value must be greater than zero")
    if value >> 32:
        raise GenericError("timer value is too big")
    device.values[name] = value

"""``-cpu`` and ``-m``, once they are known to be right: what the machine is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from qmpd.options import groups
from qmpd.options.qemu_opts import parse_option_number, parse_option_size, parse_opts, silent

if TYPE_CHECKING:
    from qmpd.machine.devices.topology import CpuKind

_DEFAULT_MEMORY: Final = 128 << 20
_MEMORY_UNIT: Final = 8192
_BACKENDS: Final = {"microvm": "microvm.ram", "none": "ram"}


def cpu_of(text: str | None, machine: str) -> CpuKind:
    """Which processors there are.

    :param text: the value of ``-cpu``
    :param machine: full name of the machine type, whose default it is without one
    """
    from qmpd.machine.devices.topology import CpuKind

    model, *flags = (text or ("486" if machine == "isapc" else "qemu64")).split(",")
    values: dict[str, str] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if flag[0] in "+-":
            name, value = flag[1:], "on" if flag[0] == "+" else "off"
        elif not equals:
            value = "on"
        values[name] = value
    return CpuKind(model, values)


def memory_of(values: Iterable[str], default: int = _DEFAULT_MEMORY) -> int:
    """How many bytes of memory there are.

    :param values: of all ``-m``, the parameters of which are combined
    :param default: how many where none is told
    """
    size = default
    for text in values:
        given = parse_opts(groups.MEMORY, text, silent).get("size")
        if given is not None:
            size = parse_option_size("size", f"{given}M" if given.isdecimal() else given)
    return -(-size // _MEMORY_UNIT) * _MEMORY_UNIT


def memory_slots_of(values: Iterable[str]) -> int:
    """How many places for more memory there are.

    :param values: of all ``-m``
    """
    slots = 0
    for text in values:
        given = parse_opts(groups.MEMORY, text, silent).get("slots")
        if given is not None:
            slots = parse_option_number("slots", given)
    return slots


def own_backend(machine: str, properties: Mapping[str, str]) -> str | None:
    """The id of the memory backend that a machine makes for itself; None if it is given one."""
    if "memory-backend" in properties:
        return None
    return _BACKENDS.get(machine, "pc.ram")


def prefers_sockets(machine: str) -> bool:
    """Whether a machine type is older than 6.2, which prefers cores."""
    return _is_older(machine, 6, 2)


def makes_node(machine: str) -> bool:
    """Whether a machine type makes a NUMA node of all, where memory may be plugged in."""
    return machine != "microvm" and not _is_older(machine, 2, 12)


def _is_older(machine: str, major: int, minor: int) -> bool:
    version = machine.rpartition("-")[2].split(".")
    try:
        return (int(version[0]), int(version[1])) < (major, minor)
    except (ValueError, IndexError):
        return False

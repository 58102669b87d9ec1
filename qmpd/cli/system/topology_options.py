"""``-smp``: how many processors there are, and how they sit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import parse_int64
from qmpd.cli.report import CommandLineError

if TYPE_CHECKING:
    from qmpd.machine.devices.topology import Topology
    from qmpd.profile.rules import Rules

LEVELS: Final = ("drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads")
"""From the outermost one to the innermost."""
_MEMBERS: Final = ("cpus", *LEVELS, "maxcpus")
_NEW: Final = ("drawers", "books", "modules")
"""Levels that only versions with "processors-have-modules" know."""
_COMMON: Final = frozenset({"sockets", "cores", "threads"})
_32_BITS: Final = (1 << 32) - 1


def _signed(number: int) -> int:
    """A 32-bit number as messages print it."""
    return number - (1 << 32) if number >> 31 else number


@dataclass(frozen=True)
class Processors:
    """What becomes of ``-smp``.

    :param levels: how many there are of each within one of the level above
    """

    present: int
    most: int
    levels: Mapping[str, int]

    @property
    def product(self) -> int:
        """How many places the levels have."""
        return prod(self.levels.values()) & _32_BITS

    def topology(self) -> Topology:
        """The same as the machine has it."""
        from qmpd.machine.devices.topology import Topology

        shown = ("sockets", "dies", "modules", "cores", "threads")
        return Topology(self.present, *(max(self.levels[name], 1) for name in shown))


def read_numbers(smp: Mapping[str, object], rules: Rules) -> dict[str, int]:
    """The parameters of ``-smp`` as numbers.

    :raises CommandLineError: with QEMU's text
    """
    known = [n for n in _MEMBERS if n not in _NEW or rules.holds("processors-have-modules")]
    numbers = {}
    for name in (name for name in known if name in smp):
        text = smp[name]
        if not isinstance(text, str):
            raise CommandLineError(f"Parameters 'smp.{name}.*' are unexpected")
        try:
            numbers[name] = parse_int64(text)
        except ValueError:
            raise CommandLineError(f"Parameter 'smp.{name}' expects integer") from None
    for name in smp:
        if name not in known:
            raise CommandLineError(f"Parameter 'smp.{name}' is unexpected")
    return numbers


def processors_of(given: Mapping[str, int], *, prefer_sockets: bool) -> Processors:
    """Fill in what is not told (``machine_parse_smp_config``).

    :param prefer_sockets: whether what is missing are sockets rather than cores
    """
    given = {name: number & _32_BITS for name, number in given.items()}
    levels = {name: given.get(name, 0) for name in LEVELS}
    for name in LEVELS:
        if name not in _COMMON:
            levels[name] = levels[name] or 1
    cpus = given.get("cpus", 0)
    most = given.get("maxcpus", 0) or cpus
    order = ("sockets", "cores") if prefer_sockets else ("cores", "sockets")
    missing = next((name for name in order if not levels[name]), "threads")
    if not most:
        missing = ""
    for name in _COMMON:
        if name != missing and (not most or missing != "threads"):
            levels[name] = levels[name] or 1
    if missing and not levels[missing]:
        others = prod(count for name, count in levels.items() if name != missing) & _32_BITS
        levels[missing] = most // (others or 1)
    product = prod(levels.values()) & _32_BITS
    most = most or product
    return Processors(cpus or most, most, levels)


def check_processors(found: Processors, supported: frozenset[str], rules: Rules) -> None:
    """See that the levels are there and make as many places as are told.

    :param supported: levels that the machine has besides the usual three
    :raises CommandLineError: with QEMU's text
    """
    more = " > 1" if rules.holds("processors-have-modules") else ""
    for name in ("modules", "dies", "clusters", "books", "drawers"):
        if name not in supported and found.levels[name] > 1:
            raise CommandLineError(f"{name}{more} not supported by this machine's CPU topology")
    shown = " * ".join(
        f"{name} ({count})" for name, count in found.levels.items() if name in supported | _COMMON
    )
    if found.product != found.most:
        raise CommandLineError(
            "Invalid CPU topology: product of the hierarchy must match maxcpus:"
            f" {shown} != maxcpus ({found.most})"
        )
    if found.most < found.present:
        raise CommandLineError(
            "Invalid CPU topology: maxcpus must be equal to or greater than smp:"
            f" {shown} == maxcpus ({found.most}) < smp_cpus ({found.present})"
        )


def check_most(found: Processors, most: int, machine: str) -> None:
    """See that the machine type has room for them.

    :raises CommandLineError: with QEMU's text
    """
    if found.most > most:
        raise CommandLineError(
            f"Invalid SMP CPUs {_signed(found.most)}. The max CPUs supported by machine"
            f" '{machine}' is {most}"
        )

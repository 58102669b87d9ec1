"""The processors that a machine passes for having: their places, and what QOM tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.scalars import parse_bool
from qmpd.errors import GenericError, NotServed
from qmpd.machine.devices.board import UNATTACHED
from qmpd.profile.personality import Personality
from qmpd.profile.recorded.cpus import WORDS

if TYPE_CHECKING:
    from qmpd.machine.devices.board import Board
    from qmpd.profile import Profile
    from qmpd.profile.recorded.cpus import Processor

_OTHER_NAMES: Final = {
    "sse3": "pni",
    "pclmuldq": "pclmulqdq",
    "sse4-1": "sse4.1",
    "sse4-2": "sse4.2",
    "xd": "nx",
    "ffxsr": "fxsr-opt",
    "i64": "lm",
}
"""Older names of features; besides, each may be written with underscores."""

_READ_ONLY: Final = (
    "type",
    "hotplugged",
    "hotpluggable",
    "crash-information",
    "unavailable-features",
    *WORDS,
)

_CHILDREN: Final = ("lapic", "smram[0]", "memory[0]", "memory[1]")
_FIRST: Final = f"{UNATTACHED}/device[0]"


class Processors:
    """The processors of a machine.

    :param board: its hardware; machine type none has no processor
    """

    def __init__(self, board: Board, profile: Profile) -> None:
        self._board = board
        self._rules = profile.rules
        self._cpus = profile.recorded(Personality.SYSTEM).cpus
        self.topology = board.topology
        self._known: dict[int, Processor] = {}

    @property
    def model(self) -> str:
        """The name of their model."""
        return self._board.cpu.model

    @property
    def type_name(self) -> str:
        """Their QOM type."""
        return f"{self._board.cpu.model}-x86_64-cpu"

    def path(self, number: int) -> str:
        """Where a processor is in the QOM tree."""
        if number == 0:
            return _FIRST
        first = self._board.numbers(0, 0, self._rules)["more-cpus"]
        return f"{UNATTACHED}/device[{first + number - 1}]"

    def place(self, number: int) -> dict[str, int]:
        """Where a processor sits: the members of CpuInstanceProperties, in their order."""
        return {**({"node-id": 0} if self._board.has_node else {}), **self.topology.place(number)}

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Their numbers, by where they are."""
        if self._board.type == "none":
            return {}
        return {self.path(number): number for number in range(self.topology.present)}

    def at(self, path: str) -> Processor:
        """The processor at a path, one of `paths`."""
        return self._processor(self.numbers[path])

    def _processor(self, number: int) -> Processor:
        known = self._known.get(number)
        if known is not None:
            return known
        found = self._cpus.processor(self._board.cpu.model)
        values = found.values
        self._set_up(values)
        self._set_flags(values)
        place = self.place(number)
        values |= {name: place[name] for name in place if name in values}
        values["apic-id"] = self.topology.apic_id(number)
        for name in _CHILDREN:
            if name in values:
                values[name] = values[name].replace(_FIRST, self.path(number))
        self._known[number] = found
        return found

    def _set_up(self, values: dict[str, Any]) -> None:
        """What the machine type and the topology make of a processor."""
        lineage = (values["type"], "x86_64-cpu", "cpu")
        for kind, name, text in self._cpus.compat(self._board.model):
            if kind in lineage and name in values:
                values[name] = _read(values[name], text)
        if self.topology.places > self.topology.sockets:
            values["ht"] = True
            _set_bit(values, *_HT)
            for name in ("cmp-legacy", "cmp_legacy"):
                if values["vendor"] in ("AuthenticAMD", "HygonGenuine") and name in values:
                    values[name] = True
                    _set_bit(values, *_CMP_LEGACY)

    def _set_flags(self, values: dict[str, Any]) -> None:
        wanted = {_usual(name): value for name, value in self._board.cpu.flags.items()}
        if not wanted:
            return
        possible, features = self._cpus.processor("max").values, self._cpus.features
        missing = list(values["unavailable-features"])
        for name in values:
            if _usual(name) not in wanted:
                continue
            value = _read(values[name], wanted[_usual(name)])
            if value is True and name in features and possible.get(name) is False:
                missing += [name] * (name not in missing)
                value = False
            values[name] = value
        values["unavailable-features"] = missing
        for name in WORDS:
            del values[name]

    def get(self, path: str, name: str) -> Any:
        """Command qom-get for a processor.

        :raises GenericError: it has no such property, or refuses to tell it
        """
        found = self.at(path)
        if name in found.values:
            return found.values[name]
        if name in found.errors:
            raise GenericError(found.errors[name])
        if name in WORDS:
            raise NotServed("The features of processors with flags are not served by qmpd as words")
        raise GenericError(f"Property '{self.type_name}.{name}' not found")

    def set(self, path: str, name: str) -> None:
        """Command qom-set for a processor, which is always refused.

        :raises GenericError: why
        """
        found = self.at(path)
        if name not in dict(found.entries):
            raise GenericError(f"Property '{self.type_name}.{name}' not found")
        if name in _READ_ONLY:
            raise GenericError(f"Property '{self.type_name}.{name}' is not writable")
        raise GenericError(
            f"Attempt to set property '{name}' on anonymous device (type"
            f" '{self.type_name}') after it was realized"
        )


_HT: Final = (1, "EDX", 28)
_CMP_LEGACY: Final = (0x80000001, "ECX", 1)


def _set_bit(values: dict[str, Any], leaf: int, register: str, bit: int) -> None:
    """Set a bit of the words that the features are in, too."""
    for word in values["feature-words"]:
        if (word["cpuid-input-eax"], word["cpuid-register"]) == (leaf, register):
            word["features"] |= 1 << bit


def _usual(name: str) -> str:
    """The name that a feature has today."""
    plain = name.replace("_", "-")
    return _OTHER_NAMES.get(plain, plain)


def _read(old: Any, text: str) -> Any:
    """A value of the kind of `old`."""
    try:
        if isinstance(old, bool):
            return parse_bool(text)
        return int(text, 0) if isinstance(old, int) else text
    except ValueError:
        return old

"""Which processors a machine has, and how they sit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Topology:
    """How many processors there are, and how they sit together (``-smp``).

    :param present: how many there are from the start
    """

    present: int = 1
    sockets: int = 1
    dies: int = 1
    modules: int = 1
    cores: int = 1
    threads: int = 1

    @property
    def places(self) -> int:
        """How many there may be."""
        return self.sockets * self.dies * self.modules * self.cores * self.threads

    def place(self, number: int) -> dict[str, int]:
        """The place of a processor; its members in the order of CpuInstanceProperties."""
        ids: dict[str, int] = {}
        for name, count in (
            ("thread-id", self.threads),
            ("core-id", self.cores),
            ("module-id", self.modules),
            ("die-id", self.dies),
            ("socket-id", self.sockets),
        ):
            ids[name] = number % count
            number //= count
        shown = ["socket-id"]
        shown += ["die-id"] * (self.dies > 1) + ["module-id"] * (self.modules > 1)
        return {name: ids[name] for name in (*shown, "core-id", "thread-id")}

    def apic_id(self, number: int) -> int:
        """The number of its interrupt controller: each part of its place has bits of its own."""
        place, apic_id, shift = number, 0, 0
        for count in (self.threads, self.cores, self.modules, self.dies):
            apic_id |= place % count << shift
            place //= count
            shift += (count - 1).bit_length()
        return apic_id | place << shift


@dataclass(frozen=True)
class CpuKind:
    """Which processors a machine has (``-cpu``).

    :param model: name of the model
    :param flags: properties that differ from the model's, as texts
    """

    model: str = "qemu64"
    flags: Mapping[str, str] = field(default_factory=dict)

"""``-machine``, ``-accel``, ``-cpu`` and ``-smp``: the computer to emulate, by name only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qmpd.cli.report import CommandLineError
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import parse_option_bool

if TYPE_CHECKING:
    from qmpd.cli.system.topology_options import Processors
    from qmpd.machine.devices.topology import Topology
    from qmpd.profile import Profile

ACCELERATORS: Final = ("tcg", "kvm", "qtest")
"""What ``-accel`` takes."""

BOOLEAN: Final = frozenset(
    "aux-ram-share dump-guest-core graphics mem-merge suppress-vmdesc usb".split(" ")
)

_CPU_FLAGS: Final = re.compile(r"[+-]?[A-Za-z0-9_.-]+(=.*)?")


@dataclass(eq=False, repr=False)
class MachineOptions:
    """The computer that the options describe.

    :param type: machine type as given, maybe an alias
    :param accelerators: in the order of preference
    :param aliases: what the aliases of machine types stand for
    """

    type: str | None = None
    wants_help: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    accelerators: list[str] = field(default_factory=list)
    accel_location: str | None = None
    cpu: str | None = None
    smp: dict[str, object] = field(default_factory=dict)
    accel_help: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Full name of the machine type."""
        given = "pc" if self.type is None else self.type
        return self.aliases.get(given, given)

    @property
    def buses(self) -> str:
        """The kind of its board: none, pc or q35."""
        if self.name == "none":
            return "none"
        return "q35" if "q35" in self.name else "pc"

    @property
    def has_hardware(self) -> bool:
        """Whether it has buses and a serial port, which machine type none lacks."""
        return self.name != "none"

    @property
    def cpus(self) -> int:
        """How many CPUs the machine starts with."""
        return self.topology.present if self.has_hardware else 0

    @property
    def topology(self) -> Topology:
        """How its CPUs sit together."""
        from qmpd.base.scalars import parse_int64

        numbers = {name: parse_int64(str(value)) for name, value in self.smp.items()}
        return self._processors(numbers).topology()

    @property
    def qtest(self) -> bool:
        """Whether the accelerator is qtest."""
        return self.accelerators[:1] == ["qtest"]

    def read_machine(self, text: str) -> None:
        """Read one ``-machine``; later ones override earlier ones property by property."""
        parsed = parse_keyval(text, "type")
        tree = dict(parsed.tree)
        if tree.get("type") is not None:
            self.type = str(tree.pop("type"))
        self.wants_help = self.wants_help or parsed.wants_help
        accel = tree.pop("accel", None)
        if accel is not None:
            self.accelerators = str(accel).split(":")
            self.accel_location = None
        for name, value in tree.items():
            self.properties[name] = str(value)

    def read_accel(self, text: str) -> None:
        """Read one ``-accel``; the first one is preferred."""
        name, _, rest = text.partition(",")
        name = name.removeprefix("accel=")
        if name in ("help", "?") or not text:
            self.accel_help = True
            return
        if name not in ACCELERATORS:
            raise CommandLineError(f"invalid accelerator {name}")
        thread = parse_keyval(rest).tree.get("thread")
        if name == "tcg" and thread not in (None, "single", "multi"):
            raise CommandLineError(f"Invalid 'thread' setting {thread}")
        self.accelerators.append(name)

    def read_cpu(self, text: str) -> None:
        """Read one ``-cpu``; the last one counts."""
        self.cpu = text

    def read_smp(self, text: str) -> None:
        """Read one ``-smp``; the parameters of all are combined."""
        parsed = parse_keyval(text, "cpus")
        self.smp.update(parsed.tree)

    def check(self, profile: Profile) -> None:
        """Check that QEMU knows such a computer.

        :param profile: of the machine that will be made
        :raises CommandLineError: with QEMU's text
        """
        if self.name != "none" and self.name not in self.aliases.values():
            self._check_type(profile)
        self._check_properties(profile)
        self._check_smp(profile)
        for accelerator in self.accelerators:
            if accelerator not in ACCELERATORS:
                raise CommandLineError(f"invalid accelerator {accelerator}")
        self._check_cpu(profile)

    def _check_type(self, profile: Profile) -> None:
        from qmpd.cli.system.probe_lists import machine_names

        if self.name not in machine_names(profile):
            raise CommandLineError(
                f'unsupported machine type: "{self.type}"',
                "Use -machine help to list supported machines",
            )

    def _check_properties(self, profile: Profile) -> None:
        if not self.properties:
            return
        from qmpd.cli.system.probe_lists import machine_properties

        known = machine_properties(profile, self.name)
        for name, value in self.properties.items():
            if name not in known:
                raise CommandLineError(f"Property '{self.name}-machine.{name}' not found")
            if name in BOOLEAN:
                parse_option_bool(name, value)

    def _check_smp(self, profile: Profile) -> None:
        if not self.smp:
            return
        from qmpd.cli.system.topology_options import check_most, check_processors, read_numbers

        rules = profile.rules
        numbers = read_numbers(self.smp, rules)
        if 0 in numbers.values():
            raise CommandLineError(
                "Invalid CPU topology: CPU topology parameters must be greater than zero"
            )
        found = self._processors(numbers)
        if rules.holds("processors-by-levels"):
            levels = {"dies"} if self.has_hardware else set()
            if levels and rules.holds("processors-have-modules"):
                levels.add("modules")
            check_processors(found, frozenset(levels), rules)
        check_most(found, self._most_cpus(profile), self.name)

    def _processors(self, numbers: Mapping[str, int]) -> Processors:
        from qmpd.cli.system.processor_options import prefers_sockets
        from qmpd.cli.system.topology_options import processors_of

        return processors_of(numbers, prefer_sockets=prefers_sockets(self.name))

    def _most_cpus(self, profile: Profile) -> int:
        from qmpd.profile.personality import Personality

        # the present type of a version that was not measured is known by its alias
        alias = next((alias for alias, name in self.aliases.items() if name == self.name), None)
        machines = profile.recorded(Personality.SYSTEM).machines
        found = [m for m in machines if m["name"] == self.name]
        found += [m for m in machines if m.get("alias", "") == alias]
        return found[0]["cpu-max"] if found else 1

    def _check_cpu(self, profile: Profile) -> None:
        if self.cpu is None:
            return
        if not self.cpu:
            raise CommandLineError("-cpu option cannot be empty")
        from qmpd.cli.system.probe_lists import cpu_models

        model, *flags = self.cpu.split(",")
        if model not in cpu_models(profile):
            raise CommandLineError(f"unable to find CPU model '{model}'")
        for flag in flags:
            if not _CPU_FLAGS.fullmatch(flag):
                raise CommandLineError(f"Expected key=value format, found {flag}.")

"""``-machine``, ``-accel``, ``-cpu`` and ``-smp``: the computer to emulate, by name only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import parse_int64
from qmpd.cli.report import CommandLineError
from qmpd.options.keyval import Tree, parse_keyval
from qmpd.options.qemu_opts import Opts, Warn, parse_option_bool, parse_opts, silent

if TYPE_CHECKING:
    from qmpd.cli.report import Program
    from qmpd.cli.system.topology_options import Processors
    from qmpd.machine.devices.topology import Topology
    from qmpd.profile import Profile

OF_ACCELERATORS: Final = frozenset(
    ("igd-passthru", "kernel-irqchip", "kernel_irqchip", "kvm-shadow-mem")
)
"""Properties of machines that are accelerators' in truth."""

BOOLEAN: Final = frozenset(
    "aux-ram-share dump-guest-core graphics mem-merge suppress-vmdesc usb".split(" ")
)

_WRONG: Final = {
    "boot": "Invalid parameter type for 'boot', expected: object",
    "smp": "Invalid parameter type for 'smp', expected: object",
    "memory": "Parameter 'memory' used inconsistently",
    "dumpdtb": "This machine doesn't have an FDT\n"
    "(Perhaps it doesn't support FDT at all, or perhaps you need to provide an FDT with the"
    " -fdt option?)",
}
"""Properties that no value fits, and what is said of them."""

_CPU_FLAGS: Final = r"[+-]?[A-Za-z0-9_.-]+(=.*)?"


class MachineOptions:
    """The computer that the options describe."""

    def __init__(self) -> None:
        self.type: str | None = None
        """Machine type as given, maybe an alias."""
        self.wants_help = False
        self.properties: dict[str, str] = {}
        self.accelerators: list[tuple[Opts, str]] = []
        """Parameters and location of each ``-accel``, in the order of preference."""
        self.accelerator_names: list[str] = []
        """Those that ``-machine accel=`` names, in the order of preference."""
        self.accelerator: str | None = None
        """Which it is, once that has been found out."""
        self.cpu: str | None = None
        self.smp: dict[str, object] = {}
        self.accel_help = False
        self.aliases: Mapping[str, str] = {}
        """What the aliases of machine types stand for."""

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
        numbers = {name: parse_int64(str(value)) for name, value in self.smp.items()}
        return self._processors(numbers).topology()

    @property
    def qtest(self) -> bool:
        """Whether the accelerator is qtest."""
        return self.accelerator == "qtest"

    def read_machine(self, text: str) -> dict[str, Tree]:
        """Read one ``-machine``; later ones override earlier ones property by property.

        :returns: what it says of memory and of booting, which options of their own say, too
        """
        parsed = parse_keyval(text, "type")
        tree = dict(parsed.tree)
        if tree.get("type") is not None:
            self.type = str(tree.pop("type"))
        self.wants_help = self.wants_help or parsed.wants_help
        accel = tree.pop("accel", None)
        if accel is not None:
            self.accelerator_names = str(accel).split(":")
        smp = tree.pop("smp", None)
        if isinstance(smp, dict):
            self.smp.update(smp)
        elif smp is not None:
            tree["smp"] = smp
        others = {}
        for name, value in tree.items():
            if name in ("boot", "memory") and isinstance(value, dict):
                others[name] = value
            else:
                self.properties[name] = str(value)
        return others

    def read_accel(self, text: str, location: str, warn: Warn = silent) -> None:
        """Read one ``-accel``; the first one is preferred.

        :param location: the option, for messages
        """
        from qmpd.cli.system.accelerator_options import GROUP

        opts = parse_opts(GROUP, text, warn)
        if opts.wants_help or opts.get("accel") is None:
            self.accel_help = True
            return
        self.accelerators.append((opts, location))

    def read_cpu(self, text: str) -> None:
        """Read one ``-cpu``; the last one counts."""
        self.cpu = text

    def read_smp(self, text: str) -> None:
        """Read one ``-smp``; the parameters of all are combined."""
        parsed = parse_keyval(text, "cpus")
        self.smp.update(parsed.tree)

    def check(self, profile: Profile, program: Program) -> None:
        """Check that QEMU knows such a computer.

        :param profile: of the machine that will be made
        :param program: tells of accelerators that are not there
        :raises CommandLineError: with QEMU's text
        """
        if self.name != "none" and self.name not in self.aliases.values():
            self._check_type(profile)
        self._check_properties(profile)
        self._check_smp(profile)
        self._check_accelerators(profile, program)
        self._check_cpu(profile)

    def _check_accelerators(self, profile: Profile, program: Program) -> None:
        if not self.accelerators and not self.accelerator_names:
            return
        from qmpd.cli.system.accelerator_options import GROUP, configure, known_accelerators

        if self.accelerators and self.accelerator_names:
            raise CommandLineError(
                'The -accel and "-machine accel=" options are incompatible', location=""
            )
        # those that are not known are told of first
        known = known_accelerators(profile)
        names = sorted(self.accelerator_names, key=lambda name: name in known)
        named = [(Opts(GROUP, values=[("accel", name)]), "") for name in names]
        self.accelerator = configure(named or self.accelerators, profile, program)

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
            if name not in known and name not in OF_ACCELERATORS:
                raise CommandLineError(f"Property '{self.name}-machine.{name}' not found")
            if name in _WRONG:
                raise CommandLineError(*_WRONG[name].split("\n", 1))
            if name == "confidential-guest-support":
                raise CommandLineError(f"Device '{value}' not found")
            if name in BOOLEAN:
                parse_option_bool(name, value)
            elif name == "phandle-start":
                try:
                    parse_int64(value)
                except ValueError:
                    raise CommandLineError(f"Parameter '{name}' expects integer") from None

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
            if not re.fullmatch(_CPU_FLAGS, flag):
                raise CommandLineError(f"Expected key=value format, found {flag}.")

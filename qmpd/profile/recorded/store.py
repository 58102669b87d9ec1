"""The files of what was recorded from one program of one version of QEMU."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from qmpd.profile.personality import Personality
    from qmpd.profile.recorded.cpus import CpuModels
    from qmpd.profile.recorded.hardware import Hardware
    from qmpd.profile.recorded.qom import QomTypes

DIRECTORY: Final = "recorded"
"""Where the files are in a profile's directory, each program's in a directory of its own."""

_GZIP: Final = 16 + zlib.MAX_WBITS


def path_of(directory: str, personality: Personality, name: str) -> str:
    """Where the table called `name` is.

    :param directory: the profile's
    """
    return os.path.join(directory, DIRECTORY, personality.value, f"{name}.json.gz")


class TraceEvent(NamedTuple):
    """A place in the program that it can be made to tell of.

    :param available: whether it was not left out when the program was built
    :param enabled: whether the program tells of it from the start
    """

    name: str
    available: bool
    enabled: bool


class Recorded:
    """What was recorded from one program; a file is read when something first asks for it.

    :param directories: the profile's, and others to look in where it has no file
    :param personality: the program; one that nothing was recorded from has empty tables
    """

    def __init__(self, directories: Sequence[str], personality: Personality) -> None:
        self._directories = directories
        self._personality = personality

    def read(self, name: str) -> dict[str, Any]:
        """The table called `name`; an empty one if there is none."""
        for directory in self._directories:
            try:
                with open(path_of(directory, self._personality, name), "rb") as file:
                    table: dict[str, Any] = json.loads(zlib.decompress(file.read(), _GZIP))
            except FileNotFoundError:
                continue
            return table
        return {}

    @cached_property
    def types(self) -> QomTypes:
        """Its QOM types and their properties."""
        from qmpd.profile.recorded.qom import QomTypes

        return QomTypes(self.read)

    @cached_property
    def cpus(self) -> CpuModels:
        """Its CPU models."""
        from qmpd.profile.recorded.cpus import CpuModels

        return CpuModels(self.read)

    @cached_property
    def hardware(self) -> Hardware:
        """What its devices and boards are made of."""
        from qmpd.profile.recorded.hardware import Hardware

        return Hardware(self.read)

    @cached_property
    def machines(self) -> list[dict[str, Any]]:
        """Its machine types, as query-machines tells them, with ``compat-props``."""
        found: list[dict[str, Any]] = self.read("machines").get("machines", [])
        return found

    @cached_property
    def listings(self) -> dict[str, Any]:
        """What it prints when an option is asked for help, by the option's name.

        `properties` has the same of ``-machine``, by machine type.
        """
        return self.read("listings")

    @cached_property
    def helps(self) -> dict[str, Any]:
        """What else it prints of what its options take.

        `objects` has the properties of each type of ``-object``, by its name.
        """
        return self.read("helps")

    @cached_property
    def options(self) -> list[dict[str, Any]]:
        """The groups of its options, as query-command-line-options tells them."""
        found: list[dict[str, Any]] = self.read("options").get("options", [])
        return found

    @cached_property
    def trace_events(self) -> tuple[TraceEvent, ...]:
        """Its trace events, in its order."""
        table = self.read("trace")
        others: dict[str, str] = table.get("otherwise", {})
        return tuple(
            TraceEvent(name, others.get(name) != "unavailable", others.get(name) == "enabled")
            for name in table.get("events", ())
        )

    def compat(self, machine: str) -> list[tuple[str, str, str]]:
        """What a machine type makes of its devices: QOM type, property, and value as a text."""
        table = self.read("compat")
        changes = table.get("changes", ())
        return [tuple(changes[number]) for number in table.get("machines", {}).get(machine, ())]

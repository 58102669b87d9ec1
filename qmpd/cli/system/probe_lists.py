"""Names that QEMU 10.0.2 for x86_64 knows: machine types and CPU models.

Scripts probe a binary for them, and a name that is not among them is an error.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final, NamedTuple

MACHINE_ALIASES: Final = {"pc": "pc-i440fx-10.0", "q35": "pc-q35-10.0"}

_VERSIONS: Final = (
    "9.2 9.1 9.0 8.2 8.1 8.0 7.2 7.1 7.0 6.2 6.1 6.0 5.2 5.1 5.0 4.2 4.1 4.0.1 4.0 3.1 3.0 2.9 2.8"
    " 2.7 2.6 2.5 2.4 2.12 2.11 2.10"
)
"""Older versions of the versioned types, in the order of QEMU's list."""

_FAMILIES: Final = (
    ("pc-i440fx", "pc", "Standard PC (i440FX + PIIX, 1996)", "4.0.1"),
    ("pc-q35", "q35", "Standard PC (Q35 + ICH9, 2009)", None),
)
"""Versioned types: name, alias, description, and a version that the type lacks."""

_FIRST_CURRENT: Final = (7, 1)
"""Older versioned types are deprecated."""


class MachineType(NamedTuple):
    """One line of ``-machine help``."""

    name: str
    description: str


@cache
def machine_types() -> tuple[MachineType, ...]:
    """All machine types and aliases, in the order of QEMU's list."""
    types = [MachineType("microvm", "microvm (i386)")]
    for family, alias, description, without in _FAMILIES:
        for version in _VERSIONS.split():
            if version == without:
                continue
            major, minor = (int(part) for part in version.split(".")[:2])
            old = " (deprecated)" if (major, minor) < _FIRST_CURRENT else ""
            types.append(MachineType(f"{family}-{version}", description + old))
        current = MACHINE_ALIASES[alias]
        types.append(MachineType(alias, f"{description} (alias of {current})"))
        default = " (default)" if alias == "pc" else ""
        types.append(MachineType(current, description + default))
    types.append(MachineType("isapc", "ISA-only PC"))
    types.append(MachineType("none", "empty machine"))
    types.append(MachineType("x-remote", "Experimental remote machine"))
    return tuple(types)


@cache
def machine_names() -> frozenset[str]:
    """Names of all machine types, without the aliases."""
    return frozenset(entry.name for entry in machine_types()) - set(MACHINE_ALIASES)


def _lines(name: str) -> list[str]:
    path = os.path.join(os.path.dirname(__file__), "data", name)
    with open(path, encoding="ascii") as file:
        return file.read().splitlines()


@cache
def cpu_models() -> dict[str, str | None]:
    """CPU models by name; the value is the model that an alias stands for, else None."""
    models: dict[str, str | None] = {}
    for line in _lines("cpus.txt"):
        name, _, alias_of = line.partition(" ")
        models[name] = alias_of or None
    return models

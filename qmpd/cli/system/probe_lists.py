"""Names that QEMU for x86_64 knows: machine types with their properties, and CPU models.

Scripts probe a binary for them, and a name that is not among them is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.profile import Profile

_BOARD: Final = r"(?m)^pc-(?:i440fx|q35)-\d+\.\d+"

_UNLISTED: Final = {"nvdimm"}
"""Properties of PCs that help does not tell of in all versions."""


def listing(profile: Profile, option: str) -> str:
    """What help of an option prints: ``machine``, ``cpu`` or ``accel``."""
    text: str = profile.recorded(Personality.SYSTEM).listings[option]
    return text


def machine_names(profile: Profile) -> set[str]:
    """Names of all machine types, without the aliases."""
    lines = listing(profile, "machine").splitlines()[1:]
    names = {line.split()[0] for line in lines if "(alias of " not in line}
    return names.union(profile.machine_aliases.values())


def cpu_models(profile: Profile) -> set[str]:
    """Names of all CPU models."""
    models, _, _ = listing(profile, "cpu").partition("\n\n")
    return {line.removeprefix("x86 ").split()[0] for line in models.splitlines()[1:]}


def machine_help(profile: Profile, name: str) -> str:
    """What help of a machine type prints.

    :param name: its full name
    """
    board = "none" if name == "none" else "q35" if "q35" in name else "pc"
    text: str = profile.recorded(Personality.SYSTEM).listings["properties"][board]
    return text if board == "none" else re.sub(_BOARD, name, text)


def machine_properties(profile: Profile, name: str) -> set[str]:
    """Names of the properties of a machine type.

    :param name: its full name
    """
    lines = machine_help(profile, name).splitlines()
    names = (line.strip().partition("=") for line in lines)
    found = {left.rpartition(".")[2] for left, equals, _ in names if equals}
    return found if name == "none" else found | _UNLISTED

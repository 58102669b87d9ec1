"""The profiles and the schema that come with qmpd."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import Final

from qmpd.profile.profile import FORM, Profile

DEFAULT: Final = FORM
"""The version that a machine has when none is asked for."""


VERSIONS: Final = ("5.2", "6.2", "7.2", "8.2", "9.2", "10.0", "10.2", "11.1")
"""The versions that come with qmpd, oldest first."""


def directory(name: str) -> str:
    """Where the files of the profile called `name` are."""
    return os.path.join(os.path.dirname(__file__), "versions", name)


def load(name: str = DEFAULT) -> Profile:
    """The profile called `name`, e.g. ``10.0``: the same object each time.

    :raises ValueError: there is none of this name
    """
    return _loaded(name)


@cache
def _loaded(name: str) -> Profile:
    if name not in VERSIONS:
        raise ValueError(f"there is no profile '{name}' (there are: {', '.join(VERSIONS)})")
    profile = Profile.read(directory(name))
    # the device models of a version are those of the one whose behaviour it has, else the default's
    others = dict.fromkeys(each for each in (profile.behaves_as, DEFAULT) if each != name)
    return replace(profile, fallbacks=tuple(map(directory, others)))


CONTROL: Final = os.path.join(os.path.dirname(__file__), "control")
"""Where the tables of the control monitor are, and ``models``, their declarations."""


@cache
def load_control() -> Profile:
    """What the control monitor speaks; of no version of QEMU, and read only when asked for."""
    version = load().version
    return Profile("control", version, CONTROL, models="qmpd.profile.control.models")


def schema_path(name: str = "qmpd.json") -> str:
    """The main file of a shipped QAPI schema.

    An installed qmpd has it inside the package, a checkout beside it.

    :param name: ``qmpd.json`` for QEMU's monitors, ``sim.json`` for the control monitor
    :raises FileNotFoundError: the schema is in neither place
    """
    package = os.path.dirname(os.path.dirname(__file__))
    inside = os.path.join(package, "schema", name)
    beside = os.path.join(os.path.dirname(package), "schema", name)
    for place in (inside, beside):
        if os.path.isfile(place):
            return place
    raise FileNotFoundError(f"qmpd's schema is missing: {inside} and {beside}")

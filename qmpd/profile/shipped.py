"""The profiles and the schema that come with qmpd."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from qmpd.profile.profile import Profile

DEFAULT: Final = "10.0"
"""The version that a machine has when none is asked for."""


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
    path = directory(name)
    if not os.path.isdir(path):
        known = ", ".join(sorted(os.listdir(os.path.dirname(path))))
        raise ValueError(f"there is no profile '{name}' (there are: {known})")
    return Profile.read(path)


def schema_path() -> str:
    """The main file of the shipped QAPI schema.

    An installed qmpd has it inside the package, a checkout beside it.

    :raises FileNotFoundError: the schema is in neither place
    """
    package = os.path.dirname(os.path.dirname(__file__))
    inside = os.path.join(package, "schema", "qmpd.json")
    beside = os.path.join(os.path.dirname(package), "schema", "qmpd.json")
    for place in (inside, beside):
        if os.path.isfile(place):
            return place
    raise FileNotFoundError(f"qmpd's schema is missing: {inside} and {beside}")

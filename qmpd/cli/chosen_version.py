"""Which version of QEMU a program is: by its name, or by the environment."""

from __future__ import annotations

import os
import re
from typing import Final

from qmpd.errors import GenericError
from qmpd.profile.profile import Profile
from qmpd.profile.shipped import DEFAULT, load

VARIABLE: Final = "QMPD_VERSION"
"""The variable of the environment that says which version, e.g. ``7.2``."""

_NAMED: Final = re.compile(r".*-(\d+\.\d+)")


def chosen_profile(program: str) -> Profile:
    """The profile that a program has.

    :param program: its name; one like ``qemu-system-x86_64-7.2`` counts more than ``QMPD_VERSION``
    :raises GenericError: the version is none that qmpd has
    """
    named = _NAMED.fullmatch(program)
    if named is not None:
        return _load(named[1], program)
    return _load(os.environ.get(VARIABLE) or DEFAULT, VARIABLE)


def _load(version: str, source: str) -> Profile:
    try:
        return load(version)
    except ValueError as error:
        raise GenericError(f"{source}: {error}") from None

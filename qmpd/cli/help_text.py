"""What the QEMU-compatible programs have in common in ``--version`` and ``--help``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qmpd.profile.profile import Profile
from qmpd.version import __version__

_EMULATES: Final = f"This is qmpd {__version__}, which emulates that program's block layer and QMP."


def version(program: str, profile: Profile) -> str:
    """The version as `program` of QEMU words it, and whose work this is.

    :param program: ``QEMU emulator`` or ``qemu-storage-daemon``
    """
    return f"{program} version {profile.version} ({profile.package})\n{_EMULATES}\n"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Options and what they do, as ``--help`` lists them."""
    return "".join(f"{option}\n                {text}\n" for option, text in rows)

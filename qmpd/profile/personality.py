"""Whom a machine passes for: the system emulator or the storage daemon.

Both speak the same QMP; they differ in which commands they know.  The lists,
in the order of the real programs' query-commands, are data beside the schema.
"""

from __future__ import annotations

import json
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final

from qmpd.profile.shipped import schema_path


class Personality(Enum):
    """Which program of QEMU 10.0.2 a machine passes for."""

    SYSTEM = "system-emulator"
    STORAGE_DAEMON = "storage-daemon"


BEYOND_QEMU: Final = ("blockdev-group-snapshot-sync",)
"""What qmpd has and QEMU 10.0.2 does not: the ancestor of `transaction`, gone since 2012."""


@cache
def known_commands(personality: Personality) -> tuple[str, ...]:
    """All commands of the real program, in the order of its query-commands, then `BEYOND_QEMU`."""
    path = schema_path().with_name(f"{personality.value}.json")
    return (*json.loads(path.read_text(encoding="utf-8"))["commands"], *BEYOND_QEMU)


@cache
def _command_set(personality: Personality) -> frozenset[str]:
    return frozenset(known_commands(personality))


def offers(personality: Personality, command: str) -> bool:
    """Whether `command` is one that the machine knows."""
    return command in _command_set(personality)


QEMU_VERSION: Final = MappingProxyType({"major": 10, "minor": 0, "micro": 2})
"""The version of QEMU whose behaviour qmpd has, as query-version tells it."""

"""Which of QEMU's programs a machine passes for."""

from __future__ import annotations

from enum import Enum


class Personality(Enum):
    """A program of QEMU.  Both speak the same QMP; they differ in commands and events."""

    SYSTEM = "system-emulator"
    STORAGE_DAEMON = "storage-daemon"

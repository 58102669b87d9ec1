"""The run states of a guest that this emulator can be in (QAPI enum RunState)."""

from __future__ import annotations

from enum import Enum


class RunState(Enum):
    """`value` is what query-status calls it."""

    PRECONFIG = "preconfig"
    PRELAUNCH = "prelaunch"
    INMIGRATE = "inmigrate"
    FINISH_MIGRATE = "finish-migrate"
    POSTMIGRATE = "postmigrate"
    RUNNING = "running"
    PAUSED = "paused"
    SAVE_VM = "save-vm"
    RESTORE_VM = "restore-vm"
    IO_ERROR = "io-error"
    SHUTDOWN = "shutdown"
    GUEST_PANICKED = "guest-panicked"

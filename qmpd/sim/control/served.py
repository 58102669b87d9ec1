"""All commands of the control monitor, by the modules of this package that serve them."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.qmp.handlers import LazyHandlers
from qmpd.sim.control.context import Handler

MODULES: Final = {
    "qmp": (
        "qmp_capabilities",
        "query-version",
        "query-commands",
        "query-qmp-schema",
    ),
    "time": (
        "x-sim-query-clock",
        "x-sim-clock-advance",
        "x-sim-clock-until-idle",
        "x-sim-clock-until-event",
        "x-sim-pace",
        "x-sim-query-paces",
    ),
    "disk": (
        "x-sim-query-disks",
        "x-sim-disk-read",
        "x-sim-disk-write",
        "x-sim-disk-write-zeroes",
        "x-sim-disk-discard",
        "x-sim-disk-flush",
        "x-sim-disk-map",
    ),
    "guest": (
        "x-sim-guest",
        "x-sim-guest-actions",
        "x-sim-guest-on-powerdown",
        "x-sim-guest-on-unplug",
        "x-sim-workload-start",
        "x-sim-query-workloads",
        "x-sim-workload-stop",
        "x-sim-workload-check",
    ),
    "fault": (
        "x-sim-query-faults",
        "x-sim-fault-remove",
        "x-sim-fault-fail",
        "x-sim-fault-command",
        "x-sim-fault-connection",
    ),
    "journal": (
        "x-sim-journal",
        "x-sim-journal-errors",
        "x-sim-assert-called",
        "x-sim-assert-order",
    ),
    "machine": (
        "x-sim-reset",
        "x-sim-crash",
        "x-sim-restart",
        "x-sim-power-loss",
        "x-sim-checkpoint",
        "x-sim-restore",
        "x-sim-query-checkpoints",
        "x-sim-checkpoint-remove",
        "x-sim-checkpoint-save",
        "x-sim-fork",
        "x-sim-query-forks",
        "x-sim-query-images",
        "x-sim-image-remove",
    ),
}
"""The commands of each module's table ``HANDLERS``."""

SERVED: Final = LazyHandlers[Handler](__package__, MODULES)
"""Handlers of all commands, by name."""

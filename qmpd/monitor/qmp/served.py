"""All commands that are served, by the modules of this package that serve them."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.qmp.handlers import Handler, LazyHandlers

MODULES: Final = {
    "control": (
        "qmp_capabilities",
        "query-version",
        "query-commands",
        "quit",
    ),
    "introspect": ("query-qmp-schema",),
    "block_core": (
        "query-block",
        "query-blockstats",
        "query-named-block-nodes",
        "x-debug-query-block-graph",
        "x-blockdev-change",
        "blockdev-add",
        "blockdev-del",
        "blockdev-set-active",
        "blockdev-reopen",
        "block_resize",
        "block-set-write-threshold",
    ),
    "bitmaps": (
        "block-dirty-bitmap-add",
        "block-dirty-bitmap-remove",
        "block-dirty-bitmap-clear",
        "block-dirty-bitmap-enable",
        "block-dirty-bitmap-disable",
        "block-dirty-bitmap-merge",
        "x-debug-block-dirty-bitmap-sha256",
    ),
    "snapshot": (
        "blockdev-snapshot",
        "blockdev-snapshot-sync",
        "blockdev-snapshot-internal-sync",
        "blockdev-group-snapshot-sync",
        "blockdev-snapshot-delete-internal-sync",
        "change-backing-file",
    ),
    "mirror": (
        "blockdev-mirror",
        "drive-mirror",
    ),
    "backup": (
        "blockdev-backup",
        "drive-backup",
    ),
    "chain": (
        "block-commit",
        "block-stream",
    ),
    "export": (
        "nbd-server-start",
        "nbd-server-stop",
        "block-export-add",
        "block-export-del",
        "nbd-server-add",
        "nbd-server-remove",
        "query-block-exports",
    ),
    "char": ("query-chardev",),
    "transaction": ("transaction",),
    "job": (
        "job-pause",
        "job-resume",
        "job-cancel",
        "job-complete",
        "job-finalize",
        "job-dismiss",
        "block-job-pause",
        "block-job-resume",
        "block-job-complete",
        "block-job-finalize",
        "block-job-dismiss",
        "block-job-cancel",
        "block-job-set-speed",
        "block-job-change",
        "query-jobs",
        "query-block-jobs",
        "blockdev-create",
        "x-blockdev-amend",
    ),
    "block": (
        "eject",
        "blockdev-open-tray",
        "blockdev-close-tray",
        "blockdev-remove-medium",
        "blockdev-insert-medium",
        "blockdev-change-medium",
        "block_set_io_throttle",
        "block-latency-histogram-set",
        "query-pr-managers",
    ),
    "qom": (
        "object-add",
        "object-del",
        "device_add",
        "device_del",
        "qom-list",
        "qom-get",
        "qom-set",
    ),
    "misc": (
        "query-name",
        "query-iothreads",
        "stop",
        "cont",
        "x-exit-preconfig",
        "human-monitor-command",
    ),
    "run_state": ("query-status",),
    "machine": (
        "query-uuid",
        "query-kvm",
        "query-target",
        "query-cpus-fast",
        "system_reset",
        "system_powerdown",
        "set-numa-node",
    ),
    "migration": (
        "migrate-pause",
        "migrate-recover",
        "query-yank",
        "yank",
        "snapshot-save",
        "snapshot-load",
        "snapshot-delete",
    ),
}
"""The commands of each module's table ``HANDLERS``."""

SERVED: Final = LazyHandlers[Handler](__package__, MODULES)
"""Handlers of all commands served, by name."""

"""For every command with strings or numbers: requests that get far, from which others are made."""

from __future__ import annotations

from typing import Any

IMAGES = (
    "-f qcow2 base 1M",
    "-f qcow2 -b base -F qcow2 mid",
    "-f qcow2 -b mid -F qcow2 top",
    "-f qcow2 target 1M",
    "-f qcow2 other 1M",
    "-f qcow2 spare 1M",
    "-f raw plain 1M",
    "-f raw floppy 1440k",
)
"""What qemu-img makes in the folder of each program."""

DEVICES = (
    *("-device", "virtio-scsi-pci,id=scsi"),
    *("-drive", "if=none,id=cd,file=plain,format=raw,read-only=on"),
    *("-device", "scsi-cd,drive=cd,id=tray"),
    *("-drive", "if=none,id=hd,file=other,format=qcow2,node-name=other"),
    *("-device", "scsi-hd,drive=hd,id=disk"),
)
"""The hardware."""

SET_UP: tuple[tuple[str, dict[str, Any]], ...] = (
    ("blockdev-add", {"driver": "file", "node-name": "base-file", "filename": "base"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "base", "file": "base-file"}),
    ("blockdev-add", {"driver": "file", "node-name": "mid-file", "filename": "mid"}),
    (
        "blockdev-add",
        {"driver": "qcow2", "node-name": "mid", "file": "mid-file", "backing": "base"},
    ),
    ("blockdev-add", {"driver": "file", "node-name": "top-file", "filename": "top"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "top", "file": "top-file", "backing": "mid"}),
    ("blockdev-add", {"driver": "file", "node-name": "target-file", "filename": "target"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "target", "file": "target-file"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "null", "size": 1 << 20}),
    ("block-dirty-bitmap-add", {"node": "top", "name": "bitmap"}),
    ("block-dirty-bitmap-add", {"node": "top", "name": "sum"}),
    ("object-add", {"qom-type": "iothread", "id": "thread"}),
    ("object-add", {"qom-type": "throttle-group", "id": "group"}),
)
"""What there is besides."""

NBD_SERVER: tuple[str, dict[str, Any]] = (
    "nbd-server-start",
    {"addr": {"type": "unix", "data": {"path": "nbd"}}},
)
EXPORT: tuple[str, dict[str, Any]] = (
    "block-export-add",
    {"type": "nbd", "id": "export", "node-name": "null"},
)
JOB: tuple[str, dict[str, Any]] = (
    "blockdev-mirror",
    {"job-id": "job", "device": "top", "target": "target", "sync": "full", "auto-dismiss": False},
)

_FILE = {"driver": "file", "filename": "spare"}
_SNAPSHOT_SYNC = {"snapshot-file": "new", "snapshot-node-name": "new", "format": "qcow2"}
_PERF: dict[str, Any] = {"x-perf": {}}
_BACKUP = {"job-id": "job", "device": "top", "target": "target", **_PERF}
_BITMAP_BACKUP = {**_BACKUP, "bitmap": "bitmap"}
_DRIVE_BACKUP = {"job-id": "job", "device": "top", "target": "new", "sync": "full", **_PERF}
_MIRROR = {"job-id": "job", "device": "top", "target": "target", "sync": "full"}
_DRIVE_MIRROR = {"job-id": "job", "device": "other", "target": "new", "sync": "full"}
_THROTTLE = {
    "bps": 0,
    "bps_rd": 0,
    "bps_wr": 0,
    "iops": 0,
    "iops_rd": 0,
    "iops_wr": 0,
}
_UNIX = {"type": "unix", "path": "vhost"}

BASES: tuple[tuple[str, dict[str, Any]], ...] = (
    # nodes
    ("block_resize", {"node-name": "null", "size": 4096}),
    ("block_resize", {"device": "hd", "size": 1 << 21}),
    ("block-set-write-threshold", {"node-name": "top", "write-threshold": 65536}),
    ("blockdev-del", {"node-name": "null"}),
    ("blockdev-set-active", {"node-name": "top", "active": True}),
    ("blockdev-set-active", {"active": True}),
    ("x-blockdev-change", {"parent": "top", "child": "x"}),
    ("x-blockdev-change", {"parent": "top", "node": "null"}),
    ("change-backing-file", {"device": "top", "image-node-name": "top", "backing-file": "mid"}),
    ("change-backing-file", {"device": "hd", "image-node-name": "other", "backing-file": "x"}),
    ("blockdev-reopen", {"options": [{"driver": "null-co", "node-name": "null", "size": 1}]}),
    (
        "blockdev-reopen",
        {
            "options": [
                {"driver": "qcow2", "node-name": "top", "file": "top-file", "backing": "mid"}
            ]
        },
    ),
    # drivers
    ("blockdev-add", {"driver": "null-co", "node-name": "n"}),
    ("blockdev-add", {"driver": "null-aio", "node-name": "n"}),
    ("blockdev-add", {"driver": "file", "node-name": "n", "filename": "spare"}),
    ("blockdev-add", {"driver": "raw", "node-name": "n", "file": _FILE}),
    ("blockdev-add", {"driver": "raw", "node-name": "n", "file": "null"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "n", "file": _FILE}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "n", "file": _FILE, "backing": "null"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "n", "file": _FILE, "overlap-check": {}}),
    ("blockdev-add", {"driver": "blkdebug", "node-name": "n", "image": "null"}),
    (
        "blockdev-add",
        {
            "driver": "blkdebug",
            "node-name": "n",
            "image": "null",
            "inject-error": [{"event": "read_aio"}],
            "set-state": [{"event": "read_aio", "new_state": 2}],
        },
    ),
    ("blockdev-add", {"driver": "compress", "node-name": "n", "file": "target"}),
    (
        "blockdev-add",
        {
            "driver": "copy-before-write",
            "node-name": "n",
            "file": "top",
            "target": "target",
            "bitmap": {"node": "top", "name": "bitmap"},
        },
    ),
    ("blockdev-add", {"driver": "copy-on-read", "node-name": "n", "file": "top", "bottom": "mid"}),
    ("blockdev-add", {"driver": "preallocate", "node-name": "n", "file": _FILE}),
    (
        "blockdev-add",
        {"driver": "quorum", "node-name": "n", "vote-threshold": 1, "children": ["null"]},
    ),
    ("blockdev-add", {"driver": "snapshot-access", "node-name": "n", "file": "top"}),
    (
        "blockdev-add",
        {"driver": "throttle", "node-name": "n", "throttle-group": "group", "file": "null"},
    ),
    # bitmaps
    ("block-dirty-bitmap-add", {"node": "null", "name": "new"}),
    ("block-dirty-bitmap-remove", {"node": "top", "name": "bitmap"}),
    ("block-dirty-bitmap-clear", {"node": "top", "name": "bitmap"}),
    ("block-dirty-bitmap-enable", {"node": "top", "name": "bitmap"}),
    ("block-dirty-bitmap-disable", {"node": "top", "name": "bitmap"}),
    ("x-debug-block-dirty-bitmap-sha256", {"node": "top", "name": "bitmap"}),
    ("block-dirty-bitmap-merge", {"node": "top", "target": "sum", "bitmaps": ["bitmap"]}),
    (
        "block-dirty-bitmap-merge",
        {"node": "top", "target": "sum", "bitmaps": [{"node": "top", "name": "bitmap"}]},
    ),
    # jobs
    ("block-commit", {"job-id": "job", "device": "top"}),
    ("block-commit", {"job-id": "job", "device": "top", "top-node": "mid", "base-node": "base"}),
    ("block-commit", {"job-id": "job", "device": "top", "top": "mid", "base": "base"}),
    (
        "block-commit",
        {
            "job-id": "job",
            "device": "top",
            "top-node": "mid",
            "base-node": "base",
            "backing-file": "base",
        },
    ),
    ("block-stream", {"job-id": "job", "device": "top"}),
    ("block-stream", {"job-id": "job", "device": "top", "base": "base"}),
    ("block-stream", {"job-id": "job", "device": "top", "base-node": "base", "backing-file": "x"}),
    ("block-stream", {"job-id": "job", "device": "top", "bottom": "mid"}),
    ("blockdev-backup", {**_BACKUP, "sync": "full"}),
    ("blockdev-backup", {**_BACKUP, "sync": "incremental"}),
    ("blockdev-backup", {**_BITMAP_BACKUP, "sync": "incremental"}),
    ("blockdev-backup", {**_BITMAP_BACKUP, "sync": "bitmap", "bitmap-mode": "never"}),
    ("blockdev-backup", {**_BITMAP_BACKUP, "sync": "full", "bitmap-mode": "always"}),
    ("drive-backup", {**_DRIVE_BACKUP, "format": "qcow2"}),
    ("drive-backup", {**_DRIVE_BACKUP, "mode": "existing", "target": "spare"}),
    ("drive-backup", {**_DRIVE_BACKUP, "bitmap": "bitmap", "sync": "incremental"}),
    ("blockdev-mirror", _MIRROR),
    ("blockdev-mirror", {**_MIRROR, "replaces": "top"}),
    ("drive-mirror", {**_DRIVE_MIRROR, "format": "qcow2"}),
    ("drive-mirror", {**_DRIVE_MIRROR, "mode": "existing", "target": "spare"}),
    ("drive-mirror", {**_DRIVE_MIRROR, "node-name": "n", "replaces": "other"}),
    (
        "blockdev-create",
        {"job-id": "new", "options": {"driver": "file", "filename": "new", "size": 65536}},
    ),
    (
        "blockdev-create",
        {
            "job-id": "new",
            "options": {
                "driver": "qcow2",
                "file": "null",
                "size": 65536,
                "backing-file": "base",
                "backing-fmt": "qcow2",
            },
        },
    ),
    ("x-blockdev-amend", {"job-id": "new", "node-name": "top", "options": {"driver": "qcow2"}}),
    ("snapshot-save", {"job-id": "new", "tag": "s", "vmstate": "other", "devices": ["other"]}),
    ("snapshot-load", {"job-id": "new", "tag": "s", "vmstate": "other", "devices": ["other"]}),
    ("snapshot-delete", {"job-id": "new", "tag": "s", "devices": ["other"]}),
    *((f"job-{verb}", {"id": "job"}) for verb in ("cancel", "complete", "dismiss", "finalize")),
    *((f"job-{verb}", {"id": "job"}) for verb in ("pause", "resume")),
    *((f"block-job-{verb}", {"device": "job"}) for verb in ("pause", "resume", "complete")),
    *((f"block-job-{verb}", {"id": "job"}) for verb in ("dismiss", "finalize")),
    ("block-job-cancel", {"device": "job"}),
    ("block-job-set-speed", {"device": "job", "speed": 1024}),
    ("block-job-change", {"id": "job", "type": "mirror", "copy-mode": "background"}),
    # snapshots
    ("blockdev-snapshot", {"node": "null", "overlay": "target"}),
    ("blockdev-snapshot-sync", {"node-name": "top", **_SNAPSHOT_SYNC}),
    ("blockdev-snapshot-sync", {"device": "hd", **_SNAPSHOT_SYNC}),
    ("blockdev-snapshot-sync", {"node-name": "top", "mode": "existing", "snapshot-file": "spare"}),
    ("blockdev-snapshot-internal-sync", {"device": "hd", "name": "s"}),
    ("blockdev-snapshot-delete-internal-sync", {"device": "hd", "name": "s"}),
    ("blockdev-snapshot-delete-internal-sync", {"device": "hd", "id": "1"}),
    # drives and devices
    *((name, {"device": "cd"}) for name in ("eject", "blockdev-open-tray", "blockdev-close-tray")),
    *((name, {"id": "tray"}) for name in ("eject", "blockdev-open-tray", "blockdev-close-tray")),
    ("blockdev-remove-medium", {"id": "tray"}),
    ("blockdev-insert-medium", {"id": "tray", "node-name": "null"}),
    ("blockdev-change-medium", {"device": "cd", "filename": "floppy", "format": "raw"}),
    ("blockdev-change-medium", {"id": "tray", "filename": "floppy", "format": "raw"}),
    ("block_set_io_throttle", {"device": "hd", **_THROTTLE}),
    ("block_set_io_throttle", {"id": "disk", **_THROTTLE, "bps": 1 << 20, "group": "g"}),
    ("block-latency-histogram-set", {"id": "disk", "boundaries": [10, 20]}),
    ("device_add", {"driver": "scsi-hd", "drive": "null", "id": "new", "bus": "scsi.0"}),
    ("device_del", {"id": "disk"}),
    ("object-add", {"qom-type": "iothread", "id": "new"}),
    ("object-add", {"qom-type": "throttle-group", "id": "new", "limits": {}}),
    ("object-del", {"id": "thread"}),
    ("qom-list", {"path": "/objects"}),
    ("qom-get", {"path": "/objects/thread", "property": "poll-max-ns"}),
    ("qom-set", {"path": "/objects/thread", "property": "poll-max-ns", "value": 1}),
    # exports
    ("nbd-server-start", NBD_SERVER[1]),
    (
        "nbd-server-start",
        {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}},
    ),
    ("nbd-server-add", {"device": "null"}),
    ("nbd-server-add", {"device": "top", "bitmap": "bitmap", "description": "d", "name": "n"}),
    ("nbd-server-remove", {"name": "export"}),
    ("block-export-add", {"type": "nbd", "id": "new", "node-name": "null"}),
    ("block-export-add", {"type": "nbd", "id": "new", "node-name": "top", "bitmaps": ["bitmap"]}),
    (
        "block-export-add",
        {"type": "vhost-user-blk", "id": "new", "node-name": "top", "addr": _UNIX},
    ),
    ("block-export-del", {"id": "export"}),
    # the rest
    ("human-monitor-command", {"command-line": "info name"}),
    ("migrate-recover", {"uri": "unix:x"}),
    ("yank", {"instances": [{"type": "block-node", "node-name": "top"}]}),
)
"""Command and arguments."""

ACTIONS = (
    "block-dirty-bitmap-add",
    "block-dirty-bitmap-remove",
    "block-dirty-bitmap-clear",
    "block-dirty-bitmap-enable",
    "block-dirty-bitmap-disable",
    "block-dirty-bitmap-merge",
    "blockdev-backup",
    "drive-backup",
    "blockdev-snapshot",
    "blockdev-snapshot-sync",
    "blockdev-snapshot-internal-sync",
)
"""Commands that are actions of transactions as well."""

NEEDED: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "nbd-server-add": (NBD_SERVER,),
    "nbd-server-remove": (NBD_SERVER, EXPORT),
    "block-export-add": (NBD_SERVER,),
    "block-export-del": (NBD_SERVER, EXPORT),
    "snapshot-load": (("blockdev-snapshot-internal-sync", {"device": "hd", "name": "s"}),),
    "snapshot-delete": (("blockdev-snapshot-internal-sync", {"device": "hd", "name": "s"}),),
    "blockdev-snapshot-delete-internal-sync": (
        ("blockdev-snapshot-internal-sync", {"device": "hd", "name": "s"}),
    ),
    "blockdev-remove-medium": (("blockdev-open-tray", {"id": "tray"}),),
    "blockdev-insert-medium": (("eject", {"id": "tray"}),),
}
"""What must have gone before, by command."""

"""Requests with the name of a file: every command that takes one, in every notation."""

from __future__ import annotations

import json
from typing import Any, Final

Request = tuple[str, dict[str, Any]]

NOTATIONS: Final = (
    "NAME",
    "file:NAME",
    "//NAME",
    "/proc/self/rootNAME",
    "/proc/self/cwd/../../../../../../../../../../..NAME",
    'json:{"driver": "file", "filename": "NAME"}',
    'json:{"driver": "raw", "file": {"driver": "file", "filename": "NAME"}}',
    'json:{"driver": "raw", "file.driver": "file", "file.filename": "NAME"}',
    'json:{"driver": "qcow2", "file": {"driver": "file", "filename": "NAME"}}',
    "nbd+unix:///?socket=NAME",
    "nbd:unix:NAME",
    "nbd:unix:NAME:exportname=e",
    "blkdebug:NAME:image",
    "blkdebug::NAME",
    "blkverify:NAME:NAME",
    "fat:NAME",
    "fat:rw:NAME",
    "host_device:NAME",
)
"""How an image may be called that is at the path NAME."""


def named(name: str) -> list[Request]:
    """Requests with the file name `name`, to a machine with nodes ``mem`` and ``disk``."""
    file = {"driver": "file", "filename": name}
    create = {"driver": "qcow2", "file": "mem", "size": 65536, "backing-file": name}
    unix = {"type": "unix", "path": name}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("blockdev-add", {"node_name": "n", **file}),
        ("blockdev-add", {"node_name": "n", "driver": "raw", "file": file}),
        ("blockdev-add", {"node_name": "n", "driver": "qcow2", "file": file}),
        ("blockdev-add", {"node_name": "n", "driver": "blkdebug", "image": "mem", "config": name}),
        ("blockdev-add", {"node_name": "n", "driver": "nbd", "server": unix}),
        ("blockdev-add", {"node_name": "n", "driver": "qcow2", "file": "mem", "data-file": file}),
        ("blockdev-create", {"job_id": "c", "options": {**create, "backing-fmt": "raw"}}),
        ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "disk", "file": file}]}),
        (
            "change-backing-file",
            {"device": "disk", "image_node_name": "disk", "backing_file": name},
        ),
        ("block-export-add", {"type": "fuse", "id": "e", "node_name": "disk", "mountpoint": name}),
        ("block-export-add", {"type": "vduse-blk", "id": "e", "node_name": "disk", "name": name}),
        ("block-stream", {"device": "disk", "base": name}),
        ("block-commit", {"device": "disk", "top": name}),
    ]
    for target in (
        name,
        f"json:{{'driver': 'file', 'filename': '{name}'}}",
        f"nbd+unix:///?socket={name}",
    ):
        requests += [
            (
                "blockdev-snapshot-sync",
                {"node_name": "disk", "snapshot_file": target, "mode": "existing", "format": "raw"},
            ),
            (
                "drive-mirror",
                {"device": "disk", "target": target, "mode": "existing", "sync": "full"},
            ),
            (
                "drive-backup",
                {"device": "disk", "target": target, "mode": "existing", "sync": "full"},
            ),
        ]
    lines = [f'qemu-io disk "write -s {name} 0 512"', f'drive_add 0 "if=none,file={name}"']
    requests += [("human-monitor-command", {"command_line": line}) for line in lines]
    return requests


def _hmp(line: str) -> Request:
    return "human-monitor-command", {"command-line": line}


def _of_images(image: str) -> list[Request]:
    existing = {"target": image, "mode": "existing", "sync": "full"}
    quoted = image.replace("\\", "\\\\").replace('"', '\\"')
    return [
        ("drive-mirror", {"device": "disk", "job-id": "m", **existing}),
        ("drive-backup", {"device": "disk", "job-id": "b", **existing}),
        (
            "blockdev-snapshot-sync",
            {"device": "disk", "snapshot-file": image, "mode": "existing", "format": "qcow2"},
        ),
        (
            "blockdev-create",
            {
                "job-id": "c",
                "options": {"driver": "qcow2", "file": "disk", "size": 65536}
                | {"backing-file": image, "backing-fmt": "raw"},
            },
        ),
        ("blockdev-change-medium", {"device": "cd", "filename": image}),
        _hmp(f'drive_add 0 "if=none,id=d,file={quoted.replace(",", ",,")}"'),
        _hmp("drive_del d"),
        _hmp(f'snapshot_blkdev disk "{quoted}" raw'),
        _hmp(f'drive_mirror -f disk "{quoted}" raw'),
        _hmp(f'drive_backup -f disk "{quoted}" raw'),
        _hmp(f'change cd "{quoted}"'),
    ]


def _chardevs(name: str) -> list[dict[str, Any]]:
    """Backends of character devices."""
    return [
        {"type": "file", "data": {"out": name}},
        {"type": "file", "data": {"out": name, "append": True}},
        {"type": "file", "data": {"out": "/dev/null", "in": name}},
        {"type": "pipe", "data": {"device": name}},
        {"type": "serial", "data": {"device": name}},
        {"type": "parallel", "data": {"device": name}},
        {"type": "pty", "data": {"path": name}},
        {"type": "null", "data": {"logfile": name}},
        {"type": "ringbuf", "data": {"logfile": name, "logappend": True}},
        {
            "type": "socket",
            "data": {"addr": {"type": "unix", "data": {"path": name}}, "server": False},
        },
    ]


def _objects(name: str) -> list[dict[str, Any]]:
    """Types and properties of objects."""
    return [
        {"qom-type": "secret", "file": name},
        {"qom-type": "rng-random", "filename": name},
        {"qom-type": "tls-creds-x509", "dir": name, "endpoint": "client"},
        {"qom-type": "tls-creds-anon", "dir": name, "endpoint": "server"},
        {"qom-type": "tls-creds-psk", "dir": name, "endpoint": "client"},
        {"qom-type": "authz-list-file", "filename": name},
        {"qom-type": "memory-backend-file", "mem-path": name, "size": 4096},
        {"qom-type": "input-linux", "evdev": name},
    ]


def _streams(name: str) -> list[dict[str, Any]]:
    """Where the state of a machine is sent."""
    return [
        {"uri": f"file:{name}"},
        {"uri": f"file:{name},offset=512"},
        {"uri": f"exec:cat {name}"},
        {"uri": f"exec:echo x > {name}"},
        {"uri": f"unix:{name}"},
        {"uri": "fd:0"},
        {"uri": "fd:5"},
    ]


def _of_files(name: str) -> list[Request]:
    """Requests with the path of a file that is no image."""
    return [
        *(("chardev-add", {"id": "c", "backend": kind}) for kind in _chardevs(name)),
        *(("object-add", {"id": "o", **properties}) for properties in _objects(name)),
        *(("migrate", stream) for stream in _streams(name)),
        ("migrate-incoming", {"uri": f"file:{name}"}),
        ("migrate-incoming", {"uri": f"exec:cat {name}"}),
        ("dump-guest-memory", {"paging": False, "protocol": f"file:{name}"}),
        ("screendump", {"filename": name}),
        ("memsave", {"val": 0, "size": 1, "filename": name}),
        ("pmemsave", {"val": 0, "size": 1, "filename": name}),
        ("xen-save-devices-state", {"filename": name}),
        ("xen-load-devices-state", {"filename": name}),
        ("blockdev-add", {"node-name": "h", "driver": "host_device", "filename": name}),
        ("blockdev-add", {"node-name": "h", "driver": "vvfat", "dir": name}),
        ("blockdev-add", {"node-name": "h", "driver": "blklogwrites", "file": "disk", "log": name}),
        ("block-export-add", {"type": "fuse", "id": "e", "node-name": "disk", "mountpoint": name}),
        _hmp(f"chardev-add file,id=h,path={name}"),
        _hmp(f"chardev-add null,id=h,logfile={name}"),
        _hmp(f"object_add secret,id=h,file={name}"),
        _hmp(f"object_add rng-random,id=h,filename={name}"),
        _hmp(f"migrate -d file:{name}"),
        _hmp(f"logfile {name}"),
        _hmp(f"screendump {name}"),
        _hmp(f"dump-guest-memory {name}"),
        _hmp(f"pmemsave 0 1 {name}"),
        _hmp(f"wavcapture {name} a"),
        _hmp(f"gdbserver {name}"),
        _hmp(f'qemu-io disk "write -s {name} 0 512"'),
        _hmp(f'qemu-io disk "open {name}"'),
        _hmp(f'qemu-io disk "read -s {name} 0 512"'),
    ]


def all_requests(name: str) -> list[Request]:
    """Requests to a served machine with disks ``disk`` and ``cd``."""
    requests = _of_files(name)
    for notation in NOTATIONS:
        requests += _of_images(notation.replace("NAME", name))
    for driver in ("raw", "qcow2", "file", "copy-on-read", "throttle", "compress"):
        options = {"node-name": "n", "driver": driver, "file": {"driver": "file", "filename": name}}
        if driver == "file":
            options = {"node-name": "n", "driver": "file", "filename": name}
        requests += [("blockdev-add", {**options, "read-only": read}) for read in (True, False)]
        requests.append(("blockdev-del", {"node-name": "n"}))
    return requests


def changed(text: str, name: str) -> str:
    """An answer without the name, in whatever notation it has it."""
    return text.replace(json.dumps(name)[1:-1], "NAME").replace(name, "NAME")

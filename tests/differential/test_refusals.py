"""Requests that are refused, on qmpd and on the real QEMU of each version: what is said.

One machine of each has the same disks and devices; what a request leaves behind is there for the
next ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from qmpd.profile.shipped import load
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, both_argv

pytestmark = [
    pytest.mark.differential,
    pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing())),
]

ARGV: Final = (
    *("qemu-system-x86_64", "-machine", "q35", "-S", "-accel", "tcg"),
    *("-nodefaults", "-display", "none", "-qmp", "stdio"),
)

REQUESTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "size": 1048576, "read-zeroes": True}),
    ("blockdev-add", {"driver": "null-co", "node-name": "m", "size": 1048576}),
    ("blockdev-add", {"driver": "null-co", "node-name": "small", "size": 512}),
    ("device_add", {"driver": "virtio-scsi-pci", "id": "s0"}),
    ("device_add", {"driver": "scsi-hd", "drive": "n", "id": "d0"}),
    ("device_add", {"driver": "scsi-hd", "drive": "n", "id": "d1"}),
    ("device_add", {"driver": "scsi-hd", "drive": "m", "id": "d0"}),
    ("device_add", {"driver": "scsi-hd", "drive": "nope", "id": "dx"}),
    ("blockdev-mirror", {"job-id": "j", "device": "n", "target": "small", "sync": "full"}),
    ("blockdev-mirror", {"job-id": "j", "device": "n", "target": "n", "sync": "full"}),
    ("blockdev-mirror", {"job-id": "j", "device": "n", "target": "m", "sync": "incremental"}),
    (
        "blockdev-mirror",
        {"job-id": "j", "device": "n", "target": "m", "sync": "full", "buf-size": -1},
    ),
    ("blockdev-mirror", {"job-id": "j", "device": "n", "target": "m", "sync": "full", "speed": -1}),
    ("blockdev-backup", {"job-id": "j", "device": "n", "target": "small", "sync": "full"}),
    ("block_resize", {"node-name": "n", "size": 1024}),
    ("blockdev-del", {"node-name": "n"}),
    ("blockdev-reopen", {"options": [{"driver": "null-co", "node-name": "n", "size": 4096}]}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "b"}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "b"}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "p", "persistent": True}),
    ("block-dirty-bitmap-add", {"node": "n", "name": ""}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "g", "granularity": 3}),
    ("block-dirty-bitmap-remove", {"node": "n", "name": "z"}),
    ("block-dirty-bitmap-merge", {"node": "n", "target": "b", "bitmaps": ["z"]}),
    ("block-dirty-bitmap-merge", {"node": "n", "target": "z", "bitmaps": ["b"]}),
    ("block-export-add", {"type": "nbd", "id": "9", "node-name": "n"}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "zz"}),
    ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd.sock"}}}),
    ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd2.sock"}}}),
    (
        "block-export-add",
        {
            "type": "nbd",
            "id": "e",
            "node-name": "m",
            "name": "x" * 300,
        },
    ),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "m"}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "m"}),
    ("block-export-add", {"type": "nbd", "id": "f", "node-name": "m"}),
    (
        "block-export-add",
        {"type": "nbd", "id": "f", "node-name": "m", "name": "y", "bitmaps": ["z"]},
    ),
    ("blockdev-del", {"node-name": "m"}),
    ("block-export-del", {"id": "zz"}),
    ("nbd-server-remove", {"name": "zz"}),
    ("blockdev-snapshot", {"node": "n", "overlay": "m"}),
    ("blockdev-snapshot", {"node": "n", "overlay": "zz"}),
    ("blockdev-snapshot", {"node": "zz", "overlay": "m"}),
    ("block-commit", {"device": "n", "top-node": "zz"}),
    ("block-commit", {"device": "n", "base-node": "zz"}),
    ("block-commit", {"device": "zz"}),
    ("block-stream", {"device": "n", "base-node": "m"}),
    ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "zz"}),
    ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "n", "offset": 1}),
    ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "small", "size": 4096}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "r", "file": "small"}),
    ("blockdev-add", {"driver": "file", "node-name": "r", "filename": "/nope"}),
    (
        "blockdev-add",
        {"driver": "throttle", "node-name": "r", "file": "small", "throttle-group": "zz"},
    ),
    (
        "blockdev-add",
        {"driver": "quorum", "node-name": "r", "children": ["small"], "vote-threshold": 2},
    ),
    ("blockdev-add", {"driver": "blkdebug", "node-name": "r", "image": "small", "align": 3}),
    ("blockdev-add", {"driver": "null-co", "size": -1}),
    ("blockdev-add", {"driver": "null-co", "node-name": "q", "latency-ns": -1}),
    (
        "blockdev-add",
        {"driver": "nbd", "node-name": "q", "server": {"type": "unix", "path": "/nope"}},
    ),
    ("object-add", {"qom-type": "secret", "id": "s"}),
    ("object-add", {"qom-type": "secret", "id": "s", "data": "x", "file": "y"}),
    ("object-add", {"qom-type": "throttle-group", "id": "tg", "limits": {"iops-total": -1}}),
    (
        "object-add",
        {"qom-type": "throttle-group", "id": "tg", "limits": {"iops-total": 1, "iops-read": 1}},
    ),
    ("object-add", {"qom-type": "iothread", "id": "io", "poll-max-ns": -1}),
    ("object-add", {"qom-type": "iothread", "id": "io"}),
    ("object-add", {"qom-type": "iothread", "id": "io"}),
    ("object-del", {"id": "zz"}),
    ("blockdev-create", {"job-id": "c", "options": {"driver": "raw", "size": 1}}),
    ("blockdev-create", {"job-id": "c", "options": {"driver": "null-co"}}),
    (
        "blockdev-create",
        {"job-id": "c", "options": {"driver": "file", "filename": "/nope/x", "size": 512}},
    ),
    ("job-dismiss", {"id": "c"}),
    (
        "transaction",
        {"actions": [{"type": "blockdev-snapshot", "data": {"node": "n", "overlay": "zz"}}]},
    ),
    (
        "transaction",
        {
            "actions": [
                {"type": "drive-backup", "data": {"device": "zz", "target": "x", "sync": "full"}}
            ]
        },
    ),
    ("drive-backup", {"device": "n", "target": "x", "sync": "full", "job-id": "9"}),
    ("drive-mirror", {"device": "zz", "target": "x", "sync": "full"}),
    ("drive-mirror", {"device": "n", "target": "/nope/x", "sync": "full", "job-id": "j"}),
    ("set_link", {"name": "x", "up": True}),
    ("balloon", {"value": 1}),
    ("query-balloon", {}),
    ("inject-nmi", {}),
    ("system_wakeup", {}),
    ("migrate-set-parameters", {"max-bandwidth": -1}),
    ("migrate-set-parameters", {"multifd-channels": 0}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "x-colo", "state": True}]}),
    ("migrate-start-postcopy", {}),
    ("migrate-recover", {"uri": "x"}),
    ("announce-self", {}),
    ("block-set-write-threshold", {"node-name": "zz", "write-threshold": 1}),
    ("block-latency-histogram-set", {"id": "zz"}),
    ("blockdev-insert-medium", {"id": "d0", "node-name": "small"}),
    ("blockdev-remove-medium", {"id": "d0"}),
    ("blockdev-open-tray", {"id": "d0"}),
    ("eject", {"id": "d0"}),
    ("blockdev-change-medium", {"id": "d0", "filename": "x"}),
    (
        "block_set_io_throttle",
        {"id": "d0", "bps": -1, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0},
    ),
    (
        "block_set_io_throttle",
        {"id": "d0", "bps": 1, "bps_rd": 1, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0},
    ),
    ("x-blockdev-change", {"parent": "n", "child": "x"}),
    ("x-blockdev-amend", {"job-id": "a", "node-name": "n", "options": {"driver": "qcow2"}}),
    ("change-backing-file", {"device": "n", "image-node-name": "zz", "backing-file": "x"}),
    ("device-list-properties", {"typename": "nope"}),
    ("qom-list-properties", {"typename": "nope"}),
    ("screendump", {"filename": "x"}),
    ("query-rx-filter", {"name": "x"}),
    ("trace-event-set-state", {"name": "x", "enable": True}),
    ("trace-event-get-state", {"name": "x"}),
    ("watchdog-set-action", {"action": "none"}),
    ("rtc-reset-reinjection", {}),
    (
        "blockdev-add",
        {"driver": "raw", "node-name": "r", "file": "small", "size": 512, "offset": 256},
    ),
    ("migrate-incoming", {"uri": "tcp:x:y"}),
    ("migrate-set-parameters", {"downtime-limit": 999999999}),
    ("migrate-set-parameters", {"cpu-throttle-initial": 0}),
    ("migrate-set-parameters", {"x-checkpoint-delay": -1}),
    ("migrate-set-parameters", {"max-postcopy-bandwidth": -1}),
    ("migrate-set-parameters", {"xbzrle-cache-size": 3}),
    ("migrate-set-parameters", {"tls-creds": "zz"}),
    ("block-dirty-bitmap-enable", {"node": "n", "name": "zz"}),
    ("block-dirty-bitmap-clear", {"node": "zz", "name": "b"}),
    ("x-debug-block-dirty-bitmap-sha256", {"node": "n", "name": "zz"}),
    ("job-cancel", {"id": "z"}),
    ("block-job-set-speed", {"device": "z", "speed": 1}),
    ("block-job-change", {"id": "z", "type": "mirror", "copy-mode": "background"}),
    (
        "blockdev-add",
        {"driver": "copy-on-read", "node-name": "cor", "file": "small", "bottom": "zz"},
    ),
    (
        "blockdev-add",
        {"driver": "preallocate", "node-name": "pre", "file": "small", "prealloc-align": 1},
    ),
    ("blockdev-add", {"driver": "compress", "node-name": "co", "file": "small"}),
    ("blockdev-add", {"driver": "blkverify", "node-name": "bv", "test": "small", "raw": "zz"}),
    ("blockdev-add", {"driver": "null-aio", "node-name": "na", "read-zeroes": True}),
    ("blockdev-add", {"driver": "file", "node-name": "fd2", "filename": "."}),
    ("blockdev-add", {"driver": "file", "node-name": "fd3", "filename": "x", "aio": "native"}),
    (
        "blockdev-add",
        {"driver": "nbd", "node-name": "nb", "server": {"type": "inet", "host": "x", "port": "y"}},
    ),
    (
        "blockdev-add",
        {"driver": "qcow2", "node-name": "qc", "file": {"driver": "null-co", "size": 65536}},
    ),
    (
        "blockdev-add",
        {"driver": "raw", "node-name": "n2", "file": "small", "cache": {"direct": True}},
    ),
    ("blockdev-add", {"driver": "raw", "node-name": "n3", "file": "small", "discard": "x"}),
    (
        "blockdev-add",
        {"driver": "raw", "node-name": "n4", "file": "small", "detect-zeroes": "unmap"},
    ),
    ("block-stream", {"job-id": "k", "device": "small", "auto-finalize": False}),
    ("block-stream", {"device": "small"}),
    ("block-stream", {"device": "small", "base": "m"}),
    ("block-stream", {"device": "small", "base-node": "m"}),
    ("block-stream", {"device": "small", "base": "m", "base-node": "m"}),
    ("block-stream", {"device": "zz", "base": "m", "base-node": "m"}),
)
"""The first ones make what the others are about."""

JOBS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (
        "blockdev-create",
        {"job-id": "c0", "options": {"driver": "qcow2", "file": "zz", "size": 65536}},
    ),
    (
        "blockdev-create",
        {"job-id": "c1", "options": {"driver": "qcow2", "file": "small", "size": 1}},
    ),
    ("query-jobs", {}),
)
"""Jobs that fail: their errors are told later."""

SET_UP: Final = 5
"""How many of them do so."""

LINES: Final = (
    'qemu-io n "write 0 64k"',
    'qemu-io d0 "write 0 64k"',
    'qemu-io nope "write 0 64k"',
    'qemu-io -d d0 "write 0 64k"',
    "migrate nope:",
    "migrate_pause",
    "migrate_incoming x",
    "drive_del d0",
    "drive_del n",
    "block_resize n 1k",
    "block_resize nope 1",
    "drive_mirror nope x",
    "drive_backup nope x",
    "snapshot_blkdev nope x",
    "block_job_cancel z",
    "block_stream nope",
    "eject nope",
    "change nope x",
    "commit nope",
    "info block nope",
    "nbd_server_add nope",
    "nbd_server_start unix:/nope/x",
    "nbd_server_start x",
    "device_del nope",
    "device_add nope",
    "device_add scsi-hd,id=d0",
    "object_del x",
    "object_add x",
    "object_add iothread,id=9",
    "chardev-remove x",
    "netdev_del x",
    "savevm x",
    "loadvm x",
    "delvm x",
    "block_set_io_throttle nope 1 1 1 1 1 1",
    "drive_add 0 if=none,id=d0,file=x",
    "drive_add 0 if=nope",
    "nope",
    "info nope",
    "stop x",
    "closefd x",
    "getfd x",
    "qom-list /x",
    "qom-get /x y",
    "set_link x on",
    "balloon 1",
    "watchdog_action x",
    "expected_downtime",
    "migrate_set_parameter x 1",
    "migrate_set_capability x on",
    "migrate_set_parameter max-bandwidth x",
    "sendkey x",
    "trace-event x on",
    "migrate -d nope",
    "migrate_incoming tcp:x",
    "migrate_recover x",
)
"""Lines of the human monitor."""


@pytest.fixture(params=MEASURED)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def programs(version: str, tmp_path: Path) -> Iterator[tuple[StdioProgram, StdioProgram]]:
    """The real one and qmpd's."""
    programs = []
    for number, argv in enumerate(both_argv(version, [*ARGV])):
        folder = tmp_path / str(number)
        folder.mkdir()
        program = StdioProgram(argv, folder)
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        programs.append(program)
    real, ours = programs
    yield real, ours
    for program in programs:
        program.close()


def _said(program: StdioProgram, command: str, arguments: dict[str, Any]) -> Any:
    answer = program.execute({"execute": command, "arguments": arguments})[-1]
    return answer.get("error", answer.get("return"))


def test_requests(programs: tuple[StdioProgram, StdioProgram], version: str) -> None:
    commands = load(version).entry_points.commands
    for command, arguments in REQUESTS:
        if command in commands:
            real, ours = (_said(program, command, arguments) for program in programs)
            assert ours == real, (command, arguments)


def test_jobs(programs: tuple[StdioProgram, StdioProgram]) -> None:
    for command, arguments in (*REQUESTS[:SET_UP], *JOBS):
        real, ours = (_said(program, command, arguments) for program in programs)
        assert ours == real, (command, arguments)


def test_lines(programs: tuple[StdioProgram, StdioProgram]) -> None:
    for command, arguments in REQUESTS[:SET_UP]:
        for program in programs:
            _said(program, command, arguments)
    for line in LINES:
        asked = {"command-line": line}
        real, ours = (_said(program, "human-monitor-command", asked) for program in programs)
        assert ours == real, line


def test_a_storage_daemon_has_no_machine(version: str, tmp_path: Path) -> None:
    said = []
    argv = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "c"]
    for each in both_argv(version, argv):
        program = StdioProgram(each, tmp_path)
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        paths = ("/", "/machine", "/machine/peripheral", "peripheral")
        said.append([_said(program, "qom-list", {"path": path}) for path in paths])
        program.close()
    real, ours = said
    assert ours == real

"""Images that are found to be corrupt while they are written: their node has no medium any more."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.strangers.world import SIDES, start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

IMAGES = {
    "base.qcow2": ("-f", "qcow2", "4M"),
    "disk.qcow2": ("-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "4M"),
    "target.raw": ("-f", "raw", "4M"),
}


def _damage(path: Path) -> None:
    """Give the second cluster of a disk a place where no cluster begins."""
    write = ["qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 256k", path.name]
    subprocess.run(write, cwd=path.parent, check=True)
    with path.open("r+b") as file:
        file.seek(40)
        (table,) = struct.unpack(">Q", file.read(8))
        file.seek(table)
        (entry,) = struct.unpack(">Q", file.read(8))
        file.seek((entry & 0x00FFFFFFFFFFFE00) + 8)
        file.write(bytes([0x80, 0, 0, 0, 0, 5, 2, 0]))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Files]:
    both = start(tmp_path, images=IMAGES)
    try:
        for side in SIDES:
            _damage(tmp_path / side / "disk.qcow2")
        yield both
    finally:
        both.close()


def _hmp(both: Files, line: str) -> Any:
    return both.execute("human-monitor-command", **{"command-line": line})


def test_a_node_without_a_medium(both: Files) -> None:
    _hmp(both, "drive_add 0 if=none,id=drive,file=disk.qcow2,format=qcow2,node-name=disk")
    both.add("file", "target", filename="target.raw")
    both.execute("block-dirty-bitmap-add", node="disk", name="b0")
    _hmp(both, 'qemu-io drive "write -P 2 64k 64k"')
    for command in ("query-block", "query-named-block-nodes", "query-blockstats"):
        both.execute(command)
    both.execute("query-named-block-nodes", flat=True)
    both.execute("query-blockstats", **{"query-nodes": True})
    both.execute("block-dirty-bitmap-add", node="disk", name="b1")
    both.execute("block-dirty-bitmap-add", node="disk", name="b2", persistent=True)
    both.execute("block-dirty-bitmap-clear", node="disk", name="b0")
    both.execute("block-dirty-bitmap-remove", node="disk", name="b0")
    jobs: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("blockdev-backup", "disk", {"target": "disk", "sync": "full"}),
        ("blockdev-backup", "disk", {"target": "target", "sync": "full"}),
        ("blockdev-backup", "target", {"target": "disk", "sync": "full"}),
        ("blockdev-mirror", "disk", {"target": "target", "sync": "full"}),
        ("block-stream", "disk", {}),
        ("block-commit", "disk", {}),
        ("drive-backup", "disk", {"target": "new.qcow2", "sync": "full"}),
        ("drive-mirror", "disk", {"target": "new.qcow2", "sync": "full"}),
    )
    for command, device, more in jobs:
        both.execute(command, device=device, **{"job-id": "job"}, **more)
    both.execute("query-jobs")
    both.execute("block_resize", **{"node-name": "disk", "size": 8 << 20})
    both.execute("block_resize", device="drive", size=8 << 20)
    overlay = {"node-name": "disk", "snapshot-file": "new.qcow2", "snapshot-node-name": "new"}
    both.execute("blockdev-snapshot-sync", **overlay)
    both.execute("blockdev-snapshot-internal-sync", device="disk", name="a")
    both.execute("blockdev-snapshot-delete-internal-sync", device="disk", name="a")
    both.execute("block-set-write-threshold", **{"node-name": "disk", "write-threshold": 5})
    amend = {"job-id": "job", "node-name": "disk", "options": {"driver": "qcow2"}}
    both.execute("x-blockdev-amend", **amend)
    for line in ("info block", 'qemu-io drive "read 0 512"', "commit drive"):
        _hmp(both, line)
    for command in ("flush", "length"):
        both.io("disk", command)
    both.execute("stop")
    both.execute("cont")
    both.delete("disk")
    _hmp(both, "drive_del drive")
    both.execute("query-block")

"""Images that cannot be made because they do not fit: what is said, and what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.strangers.world import SIDES, make_images
from tests.support.normal import normal
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

ROOM = 100_000
ARGV = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
ARGV += ["-qmp", "stdio", "-drive", "if=none,id=d,file=d,format=qcow2"]
SNAPSHOT = {"device": "d", "snapshot-file": "s.qcow2"}
TARGET = {"device": "d", "job-id": "j", "sync": "full"}
REQUESTS: list[dict[str, Any]] = [
    {"execute": "blockdev-snapshot-sync", "arguments": SNAPSHOT},
    {
        "execute": "transaction",
        "arguments": {"actions": [{"type": "blockdev-snapshot-sync", "data": SNAPSHOT}]},
    },
    {
        "execute": "drive-mirror",
        "arguments": {**TARGET, "target": "m.qcow2", "format": "qcow2"},
    },
    {"execute": "drive-backup", "arguments": {**TARGET, "target": "b.raw", "format": "raw"}},
    {"execute": "query-block-jobs"},
]


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    make_images(tmp_path, {"d": ("-f", "qcow2", "4M")})
    shown = []
    for side in SIDES:
        folder = tmp_path / side
        argv = ARGV if side == "real" else qmpd_argv(ARGV)
        program = StdioProgram(["prlimit", f"--fsize={ROOM}", *argv], folder)
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        answers = [normal(program.execute(request), str(folder)) for request in REQUESTS]
        program.close()
        shown.append((answers, sorted(p.name for p in folder.iterdir() if "stderr" not in p.name)))
    assert shown[1] == shown[0]
    assert shown[0][1] == ["b.raw", "d"]

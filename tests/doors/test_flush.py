"""A flush that fails: who tells of it."""

from __future__ import annotations

from pathlib import Path

from tests.doors.conftest import Door

SIZE = 1 << 20


def test_reopen_tells_and_deletion_does_not(vm: Door, tmp_path: Path) -> None:
    (tmp_path / "target.raw").write_bytes(bytes(SIZE))
    file = {
        "driver": "blkdebug",
        "image": {"driver": "file", "filename": str(tmp_path / "target.raw")},
        "inject-error": [{"event": "none", "iotype": "flush", "errno": 5}],
    }
    vm.cmd("blockdev-add", driver="null-co", node_name="source", size=SIZE, read_zeroes=True)
    vm.cmd("blockdev-add", driver="raw", node_name="target", file=file)
    vm.cmd("blockdev-backup", job_id="j0", device="source", target="target", sync="full")
    assert vm.job("j0").wait() == "null"
    assert vm.job("j0").error is None
    options = {"driver": "raw", "node-name": "target", "read-only": True, "file": file}
    assert vm.qmp("blockdev-reopen", options=[options])["error"] == {
        "class": "GenericError",
        "desc": "Error flushing drive: Input/output error",
    }
    assert vm.qmp("blockdev-del", node_name="target") == {"return": {}}

"""Jobs come to their end whatever fails meanwhile."""

from __future__ import annotations

import qmpd


def test_an_active_commit_whose_base_cannot_be_made_read_only_again() -> None:
    with qmpd.Machine(disks={"base": "1M"}) as vm:
        vm.cmd("blockdev-snapshot-sync", device="base", snapshot_file="top")
        vm.disk("base").write(0, b"x" * 65536)
        vm.faults.fail("pwrite", node="base", errno="ENOSPC")
        vm.faults.fail("flush", node="base", errno="ENOSPC")
        vm.cmd("block-commit", job_id="j", device="base")
        assert vm.job("j").wait() == "null"
        assert vm.job("j").error == "No space left on device"
        assert vm.nodes["base"]["ro"] is False

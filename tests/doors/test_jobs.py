"""Jobs and their events, through each door."""

from __future__ import annotations

import pytest

from qmpd.errors import GenericError
from tests.doors.conftest import Disks, Door

MIB = 1 << 20


def statuses(vm: Door, job_id: str) -> list[str]:
    """The statuses that a job has had up to its end."""
    names: list[str] = []
    while not names or names[-1] != "null":
        event = vm.event_wait("JOB_STATUS_CHANGE", match={"data": {"id": job_id}})
        assert event is not None
        names.append(event["data"]["status"])
    return names


def test_a_full_backup(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    disks.write("d", 4096, 70000)
    vm.cmd("blockdev-backup", job_id="j", device="d", target="t", sync="full")
    assert vm.job("j").wait() == "null"
    assert vm.job("j").error is None
    assert vm.job("j").progress == (MIB, MIB)
    ends = ["created", "running", "waiting", "pending", "concluded", "null"]
    assert [name for name in statuses(vm, "j") if name not in ("paused", "standby")][-4:] == ends[
        2:
    ]
    completed = vm.event_wait("BLOCK_JOB_COMPLETED")
    assert completed is not None
    assert completed["data"] == {
        "device": "j",
        "len": MIB,
        "offset": MIB,
        "speed": 0,
        "type": "backup",
    }
    assert disks.bytes_of("t") == disks.bytes_of("d")


def test_an_incremental_backup_clears_its_bitmap(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    vm.cmd("block-dirty-bitmap-add", node="d", name="b")
    disks.write("d", 0, 512)
    disks.write("d", 9 * 65536, 512)
    copy = {"device": "d", "target": "t", "sync": "incremental", "bitmap": "b"}
    vm.cmd("blockdev-backup", {"job-id": "j", **copy})
    assert vm.job("j").wait() == "null"
    completed = vm.event_wait("BLOCK_JOB_COMPLETED")
    assert completed is not None
    assert completed["data"]["len"] == 131072
    assert vm.nodes["d"]["dirty-bitmaps"][0]["count"] == 0
    assert disks.bytes_of("t") == disks.bytes_of("d")


def test_a_failed_backup_keeps_its_bitmap(vm: Door, disks: Disks) -> None:
    disks.add("d")
    inject = {"event": "none", "errno": 28, "iotype": "write"}
    null = {"driver": "null-co", "size": MIB}
    target = {"driver": "blkdebug", "image": null, "inject-error": [inject]}
    vm.cmd("blockdev-add", {**target, "node-name": "t"})
    vm.cmd("block-dirty-bitmap-add", node="d", name="b")
    disks.write("d", 0, 512)
    copy = {"device": "d", "target": "t", "sync": "incremental", "bitmap": "b"}
    vm.cmd("blockdev-backup", {"job-id": "j", **copy})
    assert vm.job("j").wait() == "null"
    assert vm.job("j").error == "No space left on device"
    error = vm.event_wait("BLOCK_JOB_ERROR")
    assert error is not None
    assert error["data"] == {"device": "j", "operation": "write", "action": "report"}
    assert vm.nodes["d"]["dirty-bitmaps"][0]["count"] == 65536


def test_a_job_that_stays_until_it_is_dismissed(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    options = {"device": "d", "target": "t", "sync": "full"}
    stay = {"auto-finalize": False, "auto-dismiss": False}
    vm.cmd("blockdev-backup", {"job-id": "j", **options, **stay})
    job = vm.job("j")
    assert job.wait("pending") == "pending"
    with pytest.raises(GenericError, match="in state 'pending' cannot accept command verb"):
        vm.cmd("job-dismiss", id="j")
    vm.cmd("job-finalize", id="j")
    assert job.wait() == "concluded"
    assert job.status == "concluded"
    assert job.progress == (MIB, MIB)
    vm.cmd("job-dismiss", id="j")
    assert vm.cmd("query-jobs") == []
    assert job.status == "null"


def test_a_mirror_that_is_completed(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    disks.write("d", 0, 4096)
    vm.cmd("blockdev-mirror", job_id="m", device="d", target="t", sync="full")
    job = vm.job("m")
    assert job.wait("ready") == "ready"
    assert vm.event_wait("BLOCK_JOB_READY") is not None
    vm.cmd("job-complete", id="m")
    assert job.wait() == "null"
    assert job.error is None


def test_a_mirror_that_is_cancelled(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    vm.cmd("blockdev-mirror", job_id="m", device="d", target="t", sync="full")
    assert vm.job("m").wait("ready") == "ready"
    vm.cmd("block-job-cancel", device="m", force=True)
    assert vm.job("m").wait() == "null"
    cancelled = vm.event_wait("BLOCK_JOB_CANCELLED")
    assert cancelled is not None
    assert cancelled["data"]["type"] == "mirror"


def test_what_a_job_holds_is_in_use(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    copy = {"device": "d", "target": "t", "sync": "full"}
    vm.cmd("blockdev-backup", {"job-id": "j", **copy, "auto-finalize": False})
    vm.job("j").wait("pending")
    with pytest.raises(GenericError, match="busy: block device is in use"):
        vm.cmd("blockdev-del", node_name="t")
    null = {"driver": "null-co", "size": MIB}
    vm.cmd("blockdev-add", {**null, "node-name": "n0"})
    vm.cmd("blockdev-add", {**null, "node-name": "n1"})
    with pytest.raises(GenericError, match="Job ID 'j' already in use"):
        vm.cmd("blockdev-backup", job_id="j", device="n0", target="n1", sync="full")
    vm.cmd("job-finalize", id="j")
    assert vm.job("j").wait() == "null"
    vm.cmd("blockdev-del", node_name="t")

"""`vm.faults.fail`: requests to nodes and files that fail, wait or change."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import BlockIOError, GenericError, WaitsForever

CLUSTER = 65536


def machine(**kwargs: Any) -> qmpd.Machine:
    return qmpd.Machine(disks={"disk0": "1M", "target": "1M"}, **kwargs)


def chain() -> qmpd.Machine:
    """A qcow2 image over another one; its nodes are top, mid, top-file and mid-file."""
    vm = qmpd.Machine()
    for name in ("mid", "top"):
        vm.cmd(
            "blockdev-create",
            job_id="c",
            options={"driver": "file", "filename": f"/{name}", "size": 0},
        )
        finish(vm, "c")
        file = {"driver": "file", "node-name": f"{name}-file", "filename": f"/{name}"}
        vm.cmd("blockdev-add", file)
        vm.cmd(
            "blockdev-create",
            job_id="c",
            options={"driver": "qcow2", "file": f"{name}-file", "size": 1 << 20},
        )
        finish(vm, "c")
        backing = {} if name == "mid" else {"backing": "mid"}
        vm.cmd(
            "blockdev-add",
            {
                "driver": "qcow2",
                "node-name": name,
                "file": f"{name}-file",
                "discard": "unmap",
                **backing,
            },
        )
        if name == "mid":
            vm.disk("mid").write(0, b"below" * 100)
            vm.cmd(
                "blockdev-reopen",
                options=[
                    {"driver": "qcow2", "node-name": "mid", "file": "mid-file", "read-only": True}
                ],
            )
    return vm


def finish(vm: qmpd.Machine, job: str) -> None:
    assert vm.job(job).wait() == "concluded"
    assert vm.job(job).error is None
    vm.cmd("job-dismiss", id=job)


def request(vm: qmpd.Machine, operation: str, name: str = "disk0") -> None:
    disk = vm.disk(name)
    if operation == "pread":
        disk.read(0, 512)
    elif operation == "pwrite":
        disk.write(0, b"x" * 512)
    elif operation == "pwrite_zeroes":
        disk.write_zeroes(0, CLUSTER)
    elif operation == "pdiscard":
        disk.discard(0, CLUSTER)
    elif operation == "flush":
        disk.flush()
    elif operation == "block_status":
        disk.map()
    else:
        vm.cmd("block_resize", node_name=name, size=2 << 20)


@pytest.mark.parametrize(
    "place",
    [{"node": "top"}, {"node": "to?"}, {"node": "top-file"}, {"file": "/top"}, {"file": "/t*"}],
)
@pytest.mark.parametrize("operation", ["pread", "pwrite", "flush"])
def test_every_place_of_a_chain_fails(operation: str, place: dict[str, Any]) -> None:
    with chain() as vm:
        vm.disk("top").write(0, b"y" * 512)
        with vm.faults.fail(operation, errno="ENOSPC", **place) as fault:
            with pytest.raises(BlockIOError) as caught:
                request(vm, operation, "top")
            assert caught.value.errno == errno.ENOSPC
            assert fault.hits == 1
        request(vm, operation, "top")


def test_an_image_below_is_read_through_its_fault() -> None:
    with chain() as vm, vm.faults.fail("pread", node="mid") as fault:
        with pytest.raises(BlockIOError):
            vm.disk("top").read(0, 512)
        assert fault.hits == 1
        fault.remove()
        assert vm.disk("top").read(0, 5) == b"below"


@pytest.mark.parametrize(
    "operation",
    ["pread", "pwrite", "pwrite_zeroes", "pdiscard", "flush", "truncate", "block_status"],
)
def test_each_operation_fails_and_no_other(operation: str) -> None:
    others = {"pread", "pwrite", "pwrite_zeroes", "pdiscard", "flush", "truncate"} - {operation}
    if operation == "pwrite":
        others.remove("pwrite_zeroes")
    with chain() as vm:
        request(vm, "pwrite", "top")  # there is something to flush
        with vm.faults.fail(operation, node="top", errno="EPERM") as fault:
            with pytest.raises((BlockIOError, GenericError)):
                request(vm, operation, "top")
            assert fault.hits == 1
            for other in others:
                request(vm, other, "top")
            assert fault.hits == 1
        request(vm, operation, "top")


def test_a_range_a_skip_and_a_count() -> None:
    with machine() as vm:
        fault = vm.faults.fail("pwrite", node="disk0", offset=4096, length=512, skip=1, count=2)
        outcomes = []
        for offset in (0, 4096, 4000, 4607, 4608, 4096):
            try:
                vm.disk("disk0").write(offset, b"z" * 97)
                outcomes.append("written")
            except BlockIOError as error:
                outcomes.append(str(error))
        failed = "Input/output error"
        assert outcomes == ["written", "written", failed, failed, "written", "written"]
        assert fault.hits == 2
        assert vm.faults.unused() == []


def test_queries_show_nothing() -> None:
    with chain() as vm:
        before = vm.cmd("query-named-block-nodes"), vm.cmd("x-debug-query-block-graph")
        vm.faults.fail("pwrite", node="*")
        assert (vm.cmd("query-named-block-nodes"), vm.cmd("x-debug-query-block-graph")) == before


def test_a_delay_is_the_machines_time() -> None:
    with machine(clock="held") as vm:
        vm.faults.fail("pwrite", node="target", delay=1.5, count=1)
        vm.cmd("blockdev-backup", job_id="j", device="disk0", target="target", sync="full")
        assert vm.job("j").status == "running"
        vm.clock.advance(1.4)
        assert vm.job("j").status == "running"
        vm.clock.advance(0.1)
        assert vm.job("j").status == "null"
        vm.faults.fail("pread", node="disk0", delay=3, errno="EAGAIN")
        with pytest.raises(WaitsForever):
            vm.disk("disk0").read(0, 1)


def test_short_reads_end_in_zeroes_and_short_writes_fail() -> None:
    with machine() as vm:
        disk = vm.disk("disk0")
        disk.write(0, b"a" * 1024)
        with vm.faults.fail("pread", node="disk0", short=100):
            assert disk.read(0, 1024) == b"a" * 100 + bytes(924)
        with vm.faults.fail("pwrite", node="disk0", short=512) as fault:
            with pytest.raises(BlockIOError) as caught:
                disk.write(0, b"b" * 1024)
            assert caught.value.errno == errno.EINVAL
            disk.write(4096, b"c" * 512)
            assert fault.hits == 2
        assert disk.read(0, 1024) == b"b" * 512 + b"a" * 512


def test_bytes_are_corrupted_where_the_area_is() -> None:
    with machine() as vm:
        disk = vm.disk("disk0")
        disk.write(0, b"a" * 8)
        with vm.faults.fail("pread", node="disk0", offset=2, length=3, corrupt=0x03):
            assert disk.read(0, 8) == b"aabbbaaa"
            assert disk.read(3, 8) == b"bbaaa" + bytes(3)
        assert disk.read(0, 8) == b"a" * 8
        with vm.faults.fail("pwrite", node="disk0", corrupt=b"\x01\x00"):
            disk.write(0, b"`````")
        assert disk.read(0, 8) == b"a`a`aaaa"


def test_a_node_that_comes_later() -> None:
    with machine() as vm:
        with pytest.raises(LookupError, match=r"there are '#block.*', 'disk0', 'target'"):
            vm.faults.fail("pread", node="new")
        fault = vm.faults.fail("pread", node="new", later=True)
        options = {"driver": "null-co", "node-name": "new", "size": 1024, "read-zeroes": True}
        for _ in range(2):
            vm.cmd("blockdev-add", options)
            with pytest.raises(BlockIOError):
                vm.disk("new").read(0, 512)
            vm.cmd("blockdev-del", node_name="new")
        assert fault.hits == 2


def test_files_that_are_opened_made_and_locked() -> None:
    with machine() as vm:
        file = {"driver": "file", "node-name": "f", "filename": "/new.img"}
        make = {"driver": "file", "filename": "/new.img", "size": 1 << 20}
        with vm.faults.fail("create", file="/new.img", errno="EROFS"):
            vm.cmd("blockdev-create", job_id="c", options=make)
            vm.job("c").wait()
            assert vm.job("c").error == "Could not create '/new.img': Read-only file system"
            vm.cmd("job-dismiss", id="c")
        vm.cmd("blockdev-create", job_id="c", options=make)
        finish(vm, "c")
        with vm.faults.fail("open", file="*.img", errno="EMFILE", count=1):
            answer = vm.qmp("blockdev-add", file)
            assert answer["error"]["desc"] == "Could not open '/new.img': Too many open files"
            assert "return" in vm.qmp("blockdev-add", file)
        copy = {"job-id": "b", "device": "disk0", "target": "f", "sync": "full"}
        with vm.faults.fail("lock", node="f") as fault:
            answer = vm.qmp("blockdev-backup", copy)
            assert answer["error"]["desc"] == 'Could not create node: Failed to get "write" lock'
            assert fault.hits == 1
        with vm.faults.fail("lock", node="f", errno="ENOLCK"):
            answer = vm.qmp("blockdev-backup", copy)
            assert answer["error"]["desc"].endswith("Failed to lock byte 100: No locks available")
        assert "return" in vm.qmp("blockdev-backup", copy)


def test_opening_takes_time() -> None:
    with machine() as vm, vm.faults.fail("open", file="/target.raw", delay=2):
        before = vm.clock.now
        vm.cmd("blockdev-add", driver="file", node_name="f", filename="/target.raw", read_only=True)
        assert vm.clock.now - before == 2


def test_all_of_it_is_in_the_list() -> None:
    with machine() as vm:
        one = vm.faults.fail("pread", node="disk0", count=1, errno="ENOSPC")
        two = vm.faults.fail("flush", file="/disk0.raw")
        assert list(vm.faults) == [one, two]
        assert len(vm.faults) == 2
        with pytest.raises(BlockIOError):
            vm.disk("disk0").read(0, 1)
        assert vm.faults.unused() == [two]
        assert one.describe() == {
            "operation": "pread",
            "node": "disk0",
            "errno": "ENOSPC",
            "count": 1,
            "hits": 1,
        }
        vm.faults.clear()
        assert list(vm.faults) == []
        assert one.hits == 1


def test_the_journal_tells_of_faults() -> None:
    with machine() as vm:
        fault = vm.faults.fail("pread", node="disk0", errno="ENOSPC")
        with pytest.raises(BlockIOError):
            vm.disk("disk0").read(4096, 512)
        fault.remove()
        what = {"operation": "pread", "node": "disk0", "errno": "ENOSPC"}
        where = {"request": "pread", "on": "disk0", "at": 4096, "bytes": 512}
        assert [entry.data for entry in vm.journal.filter("fault")] == [
            {"action": "installed", **what},
            {"action": "hit", **what, "hits": 1, **where},
            {"action": "removed", **what, "hits": 1},
        ]


def test_a_name_of_a_device_is_its_node() -> None:
    with machine() as vm:
        vm.hmp("drive_add 0 if=none,id=d,driver=null-co,size=1M,read-zeroes=on")
        vm.faults.fail("pread", node="d")
        with pytest.raises(BlockIOError):
            vm.disk("d").read(0, 512)


@pytest.mark.parametrize(
    ("operation", "arguments", "text"),
    [
        (
            "pwrit",
            {"node": "disk0"},
            "there is no operation 'pwrit'; it is one of 'pread', 'pwrite'",
        ),
        ("pwrite", {}, "say which 'node' or which 'file'"),
        (
            "pwrite",
            {"node": "disk0", "errno": "ENOSPCE"},
            "there is no errno 'ENOSPCE'; there are 'ENOSPC'",
        ),
        ("pwrite", {"node": "disk0", "errno": 4711}, "there is no errno 4711; there are 'EIO'"),
        ("pwrite", {"node": "disk0", "count": 0}, "count is 0; it must be at least 1"),
        ("pwrite", {"node": "disk0", "skip": -1}, "skip is -1; it must be at least 0"),
        ("pwrite", {"node": "disk0", "delay": -1}, "delay is -1; it must be at least 0"),
        ("flush", {"node": "disk0", "offset": 0}, "'flush' has no offset and no length"),
        ("pdiscard", {"node": "disk0", "short": 1}, "are for 'pread' and 'pwrite', not 'pdiscard'"),
        ("pread", {"node": "disk0", "corrupt": 256}, "corrupt is 256"),
        ("pread", {"node": "disk0", "corrupt": 0}, "corrupt changes nothing"),
        ("create", {"node": "disk0"}, "has no node yet: say 'file'"),
        ("lock", {"node": "disk0", "delay": 1}, "cannot be delayed"),
    ],
)
def test_what_makes_no_sense(operation: str, arguments: dict[str, Any], text: str) -> None:
    with machine() as vm:
        with pytest.raises(ValueError) as caught:
            vm.faults.fail(operation, **arguments)
        assert text in str(caught.value)
        assert list(vm.faults) == []


def test_a_file_that_is_not_there() -> None:
    with machine() as vm, pytest.raises(LookupError) as caught:
        vm.faults.fail("pread", file="/nope*")
    assert str(caught.value).startswith(
        "no file '/nope*' is open; there are '/disk0.raw', '/target.raw'"
    )


def test_while_the_machine_is_served() -> None:
    with machine() as vm, vm.serve():
        with vm.faults.fail("pread", node="disk0") as fault, pytest.raises(BlockIOError):
            vm.disk("disk0").read(0, 1)
        assert fault.hits == 1


async def test_on_an_event_loop() -> None:
    async with aio.Machine(disks={"disk0": "1M"}) as vm:
        with vm.faults.fail("pread", node="disk0", errno="ENOSPC") as fault:
            with pytest.raises(BlockIOError):
                await vm.disk("disk0").read(0, 1)
            assert fault.hits == 1
        await vm.disk("disk0").read(0, 1)
        slow = vm.faults.fail("pread", node="disk0", delay=1000)
        await asyncio.gather(*(vm.disk("disk0").read(0, 1) for _ in range(2)))
        assert slow.hits == 2


def test_on_files_of_the_host(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.qcow2")
    image = {"path": path, "format": "qcow2", "size": "1M"}
    with qmpd.Machine(images={"disk0": image}, storage="host") as vm:
        with vm.faults.fail("pwrite", file="*.qcow2", errno="ENOSPC") as fault:
            with pytest.raises(BlockIOError) as caught:
                vm.disk("disk0").write(0, b"x" * CLUSTER)
            assert caught.value.errno == errno.ENOSPC
        assert fault.hits > 0
        vm.disk("disk0").write(0, b"x" * CLUSTER)

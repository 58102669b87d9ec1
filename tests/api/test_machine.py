"""A machine in the program's own process: commands, events, disks, jobs and bitmaps."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import errors

MIB = 1 << 20


def test_commands_return_values_and_raise_errors() -> None:
    with qmpd.Machine() as vm:
        assert vm.cmd("query-status") == {"status": "running", "running": True}
        assert vm.cmd("blockdev-add", driver="null-co", node_name="n", size=MIB) == {}
        assert vm.cmd("blockdev-del", {"node-name": "n"}) == {}
        with pytest.raises(errors.GenericError) as caught:
            vm.cmd("blockdev-del", node_name="n")
        assert caught.value.error_class == "GenericError"
        assert caught.value.desc == "Failed to find node with node-name='n'"
        with pytest.raises(errors.CommandNotFound, match="The command nope has not been found"):
            vm.cmd("nope")
        with pytest.raises(errors.DeviceNotFound):
            vm.cmd("device_del", id="nope")
        with pytest.raises(TypeError, match="not both"):
            vm.cmd("blockdev-del", {"node-name": "n"}, node_name="n")
        answer = vm.qmp("query-block-jobs", {"unexpected": 1})
        assert answer["error"]["desc"] == "Parameter 'unexpected' is unexpected"


def test_hmp_and_what_qemu_prints() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        assert vm.hmp("info name") == ""
        assert vm.hmp('qemu-io disk0 "read 0 512"') == ""
        assert "".join(vm.printed).startswith("read 512/512 bytes at offset 0")
        assert vm.hmp('qemu-io disk0 "nope"') == ""
        assert vm.complaints == ['command "nope" not found\n']


def test_events_are_taken_in_their_order() -> None:
    with qmpd.Machine() as vm:
        for command in ("stop", "cont", "stop"):
            vm.cmd(command)
        assert [event["event"] for event in vm.get_qmp_events()] == ["STOP", "RESUME", "STOP"]
        assert vm.get_qmp_events() == []
        assert vm.get_qmp_event() is None
        vm.cmd("cont")
        vm.cmd("stop")
        stop = vm.event_wait("STOP")
        assert stop is not None
        assert stop["event"] == "STOP"
        assert vm.event_wait("STOP", timeout=0) is None
        resume = vm.get_qmp_event()
        assert resume is not None
        assert resume["event"] == "RESUME"
        assert set(resume) == {"timestamp", "event"}


def test_an_event_must_match() -> None:
    with qmpd.Machine(disks={"a": MIB, "b": MIB}) as vm:
        for job in ("j0", "j1"):
            vm.cmd("blockdev-backup", job_id=job, device="a", target="b", sync="full")
            assert vm.job(job).wait() == "null"
        match = {"data": {"device": "j1"}}
        completed = vm.events_wait([("STOP", None), ("BLOCK_JOB_COMPLETED", match)])
        assert completed is not None
        assert completed["data"]["device"] == "j1"
        other = vm.event_wait("BLOCK_JOB_COMPLETED", timeout=0)
        assert other is not None
        assert other["data"]["device"] == "j0"


def test_what_cannot_come_ends_a_wait() -> None:
    with qmpd.Machine() as vm:
        with pytest.raises(errors.WaitsForever, match=r"event STOP.*nothing left to do"):
            vm.event_wait("STOP", timeout=None)
        with pytest.raises(TimeoutError, match=r"waited 5.* for event STOP"):
            vm.event_wait("STOP", timeout=5)
        assert vm.clock.now == 5
        vm.cmd("stop")
        assert vm.event_wait("STOP") is not None


def test_a_held_clock_says_when_it_is_waited_for() -> None:
    with qmpd.Machine(disks={"a": "4M", "b": "4M"}, clock="held") as vm:
        vm.disk("a").write(0, b"x" * 4 * MIB)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full", speed=MIB)
        with pytest.raises(errors.WaitsForever, match=r"job 'j'.*held.*due in .* s"):
            vm.job("j").wait()
        assert vm.clock.now == 0
        assert vm.job("j").status == "running"
        vm.clock.until_idle()
        assert vm.job("j").status == "null"
        assert vm.job("j").error is None
        assert 3 <= vm.clock.now <= 5
        assert vm.disk("b").read(0, 4 * MIB) == b"x" * 4 * MIB


def test_a_virtual_clock_jumps_only_while_somebody_waits() -> None:
    with qmpd.Machine(disks={"a": "4M", "b": "4M"}) as vm:
        vm.disk("a").write(0, b"x" * 4 * MIB)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full", speed=MIB)
        assert vm.job("j").status == "running"
        assert vm.clock.now == 0
        vm.clock.advance(1.5)
        assert vm.clock.now_ns == 1_500_000_000
        done, total = vm.job("j").progress
        assert 0 < done < total == 4 * MIB
        assert vm.job("j").wait() == "null"
        assert vm.job("j").progress == (total, total)


def test_a_real_clock_is_the_walls() -> None:
    with qmpd.Machine(disks={"a": "1M", "b": "1M"}, clock="real") as vm:
        before = vm.clock.now
        vm.clock.advance(0.02)
        assert vm.clock.now >= before + 0.02
        vm.disk("a").write(0, b"x" * MIB)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full", speed=16 * MIB)
        assert vm.job("j").wait() == "null"


def test_disks() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        disk = vm.disk("disk0")
        assert disk.size == MIB
        disk.write(4096, b"abc", fua=True)
        assert disk.read(4095, 5) == b"\0abc\0"
        disk.write_zeroes(4096, 4096, unmap=True)
        disk.discard(0, 65536)
        disk.flush()
        with pytest.raises(errors.BlockIOError) as caught:
            disk.read(MIB - 1, 2)
        assert caught.value.errno == errno.EIO
        with pytest.raises(LookupError, match=r"no disk 'nope' \(disks and nodes: .*disk0"):
            vm.disk("nope").read(0, 1)
        (stats,) = vm.cmd("query-blockstats")
        assert stats["stats"]["wr_operations"] == 2
        assert stats["stats"]["failed_rd_operations"] == 1


def test_a_node_without_a_backend_is_a_disk_too() -> None:
    with qmpd.Machine() as vm:
        vm.cmd("blockdev-add", driver="null-co", node_name="n", size=MIB, read_zeroes=True)
        vm.disk("n").write(0, b"x")
        assert vm.disk("n").read(0, 4) == bytes(4)
        vm.cmd("blockdev-del", node_name="n")


def test_the_map_of_a_chain() -> None:
    base: dict[str, Any] = {"path": "base.qcow2", "format": "qcow2", "size": "1M"}
    with qmpd.Machine(images={"base": base}) as vm:
        vm.disk("base").write(0, b"x" * 65536)
        file = {"driver": "file", "filename": "top.qcow2"}
        for options in ({**file, "size": 0}, {"driver": "qcow2", "file": file, "size": MIB}):
            vm.cmd("blockdev-create", job_id="create", options=options)
            assert vm.job("create").wait() == "concluded"
            assert vm.job("create").error is None
            vm.cmd("job-dismiss", id="create")
        vm.cmd("blockdev-add", driver="qcow2", node_name="top", file=file, backing="base")
        vm.disk("top").write(131072, b"y" * 65536)
        areas = vm.disk("top").map()
        assert [(a.start, a.length, a.depth, a.present, a.data) for a in areas] == [
            (0, 65536, 1, True, True),
            (65536, 65536, 1, False, False),
            (131072, 65536, 0, True, True),
            (196608, MIB - 196608, 1, False, False),
        ]
        assert all(area.zero != area.data for area in areas)
        assert areas[1].offset is None
    with pytest.raises(errors.BlockIOError, match="Could not open 'nope'"):
        qmpd.Machine(images={"top": "nope,format=qcow2"})


def test_images_of_the_host(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.qcow2")
    image: dict[str, Any] = {"path": path, "format": "qcow2", "size": MIB, "cluster_size": "4k"}
    with qmpd.Machine(images={"d": image}, storage="host") as vm:
        vm.cmd("block-dirty-bitmap-add", node="d", name="b", persistent=True)
        vm.disk("d").write(0, b"kept")
    with qmpd.Machine(images={"d": f"{path},format=qcow2"}, storage="overlay") as vm:
        assert vm.disk("d").read(0, 4) == b"kept"
        assert vm.bitmap("d", "b").persistent
        assert vm.bitmap("d", "b").count == 4096
        vm.disk("d").write(0, b"lost")
    with qmpd.Machine(images={"d": f"{path},format=qcow2,read-only=on"}, storage="host") as vm:
        assert vm.disk("d").read(0, 4) == b"kept"
        assert vm.nodes["d"]["ro"]


def test_jobs_that_wait_for_commands() -> None:
    with qmpd.Machine(disks={"a": MIB, "b": MIB}) as vm:
        vm.disk("a").write(0, b"x" * 65536)
        vm.cmd("blockdev-mirror", job_id="m", device="a", target="b", sync="full")
        assert vm.job("m").wait("ready") == "ready"
        with pytest.raises(TimeoutError, match="waited 30 s for job 'm', which is ready"):
            vm.job("m").wait(timeout=30)
        vm.cmd("job-complete", id="m")
        assert vm.job("m").wait() == "null"
        with pytest.raises(LookupError, match=r"no job 'x' \(jobs so far: m\)"):
            _ = vm.job("x").status


def test_a_job_that_fails_tells_why_when_it_has_gone() -> None:
    with qmpd.Machine(disks={"a": MIB}) as vm:
        inject = {"event": "none", "errno": 28, "iotype": "write"}
        image = {"driver": "null-co", "size": MIB}
        blkdebug = {"driver": "blkdebug", "image": image, "inject-error": [inject]}
        vm.cmd("blockdev-add", {**blkdebug, "node-name": "t"})
        vm.disk("a").write(0, b"x" * 65536)
        vm.cmd("blockdev-backup", job_id="j", device="a", target="t", sync="full")
        assert vm.job("j").wait() == "null"
        assert vm.job("j").error == "No space left on device"


def test_bitmaps() -> None:
    with qmpd.Machine(disks={"disk0": MIB}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0", granularity=4096)
        vm.disk("disk0").write(5000, b"x")
        vm.disk("disk0").write(100_000, b"x" * 4096)
        bitmap = vm.bitmap("disk0", "b0")
        assert bitmap.extents == [(4096, 4096), (98304, 8192)]
        assert bitmap.count == 12288
        assert bitmap.granularity == 4096
        assert (bitmap.recording, bitmap.busy) == (True, False)
        assert (bitmap.persistent, bitmap.inconsistent) == (False, False)
        assert bitmap.info == vm.nodes["disk0"]["dirty-bitmaps"][0]
        vm.cmd("block-dirty-bitmap-disable", node="disk0", name="b0")
        assert not bitmap.recording
        with pytest.raises(LookupError, match=r"no bitmap 'b1' at 'disk0' \(there: 'b0'\)"):
            _ = vm.bitmap("disk0", "b1").count
        with pytest.raises(LookupError, match="Cannot find device='x'"):
            _ = vm.bitmap("x", "b1").count


def test_the_loop_one_step_at_a_time() -> None:
    with qmpd.Machine(disks={"a": 4 * MIB, "b": 4 * MIB}) as vm:
        vm.disk("a").write(0, b"x" * (4 * MIB))
        with vm.loop.hold():
            one_at_a_time = {"x_perf": {"max-workers": 1}}
            vm.cmd(
                "blockdev-backup", job_id="j", device="a", target="b", sync="full", **one_at_a_time
            )
            before = len(vm.get_qmp_events())
            steps = 0
            while vm.loop.step():
                steps += 1
            assert steps > 3
            assert before > 0
            names = [event["event"] for event in vm.get_qmp_events()]
            assert "BLOCK_JOB_COMPLETED" in names
        assert vm.job("j").status == "null"


def test_quit_ends_the_machine() -> None:
    with qmpd.Machine(disks={"a": MIB}) as vm:
        assert vm.cmd("quit") == {}
        assert vm.closed
        shutdown = vm.event_wait("SHUTDOWN", timeout=0)
        assert shutdown is not None
        assert shutdown["data"]["reason"] == "host-qmp-quit"
        with pytest.raises(errors.MachineClosed):
            vm.cmd("query-status")
        with pytest.raises(errors.MachineClosed):
            vm.disk("a").read(0, 1)
        with pytest.raises(errors.MachineClosed):
            vm.event_wait("STOP")
    vm.close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"clock": "fast"}, "there is no clock 'fast'; it is one of 'real', 'virtual', 'held'"),
        ({"storage": "tape"}, "there is no storage 'tape'"),
        ({"version": "1.0"}, "there is no profile '1.0'"),
        ({"personality": "img"}, "there is no personality 'img'"),
    ],
)
def test_words_that_there_are_not(arguments: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        qmpd.Machine(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"disks": {"d": "1X"}}, "'1X' is no size"),
        ({"disks": {"d": 100}}, "size 100 is no multiple of 512"),
        ({"disks": {"1": MIB}}, "'1' is no name for a disk"),
        ({"images": {"d": "x,colour=red"}}, "there is no key 'colour'"),
        ({"images": {"d": {"size": "1M"}}}, "image 'd' has no path"),
    ],
)
def test_disks_that_are_not_described_right(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(errors.GenericError, match=text):
        qmpd.Machine(**arguments)  # type: ignore[arg-type]


def test_the_storage_daemon_has_other_commands() -> None:
    with qmpd.Machine(personality="storage-daemon") as vm:
        with pytest.raises(errors.CommandNotFound):
            vm.cmd("query-status")
        assert vm.cmd("query-block-jobs") == []


def test_the_same_seed_gives_the_same_bytes() -> None:
    def run(seed: int | None) -> list[object]:
        with qmpd.Machine(disks={"a": MIB, "b": MIB}, clock="held", seed=seed) as vm:
            vm.cmd("object-add", qom_type="iothread", id="io0")
            vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
            vm.clock.advance(1)
            return [vm.nodes, vm.get_qmp_events(), vm.cmd("query-iothreads")]

    assert run(7) == run(7)
    assert run(7) != run(8)


IMPORT = """
import sys, time
before = set(sys.modules)
began = time.process_time()
import qmpd
took = time.process_time() - began
print(took * 1e3, sorted(set(sys.modules) - before - {"qmpd", "qmpd.version", "__future__"}))
"""


def test_importing_costs_next_to_nothing() -> None:
    output = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    milliseconds, modules = output.stdout.split(maxsplit=1)
    assert modules.strip() == "[]"
    assert float(milliseconds) < 30

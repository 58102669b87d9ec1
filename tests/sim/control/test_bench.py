"""Faults, the journal and the machine's end at the control monitor of a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.errors import GenericError
from qmpd.testing import RemoteMachine, Server

MIB = 1 << 20


class Bench:
    """A daemon with a control monitor.

    :param path: of its ordinary monitor
    :param control: its control monitor
    """

    def __init__(self, path: str, control: RemoteMachine) -> None:
        self.path = path
        self.control = control

    def connect(self) -> RemoteMachine:
        """A client of the ordinary monitor."""
        return RemoteMachine(self.path)

    def write(self, pattern: int) -> None:
        """Write to the disk as a guest."""
        self.control.cmd("x-sim-disk-write", disk="disk0", offset=0, pattern=pattern, length=512)

    def read(self) -> str:
        """The first bytes of the disk."""
        read = self.control.cmd("x-sim-disk-read", disk="disk0", offset=0, length=3)
        return str(read["data"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A daemon whose clock is held."""
    path = str(tmp_path / "control")
    options = ["--control", f"unix:{path}", "--disk", "disk0=1M", "--clock", "held"]
    image = "image,size=1M,format=qcow2,name=image0"
    with Server(*options, "--image", image) as server, RemoteMachine(path) as control:
        yield Bench(server.path, control)


# Faults


def test_requests_that_fail(bench: Bench) -> None:
    options = {"operation": "pwrite", "node": "disk0", "errno": "ENOSPC", "skip": 1, "count": 1}
    fault = bench.control.cmd("x-sim-fault-fail", options)
    assert fault["hits"] == 0
    assert fault["what"]["errno"] == "ENOSPC"
    bench.write(1)
    with pytest.raises(GenericError, match="No space left on device"):
        bench.write(2)
    bench.write(3)
    assert bench.read() == "AwMD"
    assert bench.control.cmd("x-sim-query-faults") == [{**fault, "hits": 1}]
    assert bench.control.cmd("x-sim-fault-remove", id=fault["id"]) == [{**fault, "hits": 1}]
    assert bench.control.cmd("x-sim-query-faults") == []


def test_bytes_that_change(bench: Bench) -> None:
    bench.control.cmd("x-sim-fault-fail", operation="pread", node="disk0", corrupt=255)
    assert bench.read() == "////"


def test_commands_that_fail(bench: Bench) -> None:
    options = {
        "name": "query-status",
        "nth": 1,
        "error": "no luck",
        "error-class": "DeviceNotFound",
    }
    bench.control.cmd("x-sim-fault-command", options)
    with bench.connect() as vm:
        error = vm.qmp("query-status")["error"]
        assert error == {"class": "DeviceNotFound", "desc": "no luck"}
        assert "return" in vm.qmp("query-status")


def test_connections_that_fail(bench: Bench) -> None:
    fault = {"action": "insert", "message": 1, "bytes": "aGVsbG8K"}
    bench.control.cmd("x-sim-fault-connection", fault)
    with pytest.raises(ValueError, match="Expecting value"):
        bench.connect()
    (removed,) = bench.control.cmd("x-sim-fault-remove")
    assert removed["hits"] == 1
    bench.connect().close()


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("fail", {"operation": "eat"}, "'pread'"),
    ("fail", {"operation": "pread", "node": "nope"}, "'nope'"),
    ("fail", {"operation": "pread", "node": "disk0", "errno": "EFAIL"}, "EFAIL"),
    ("command", {"name": "no-such-command", "error": "x"}, "no-such-command"),
    ("command", {"name": "query-status", "error": "x", "error-class": "Bad"}, "GenericError"),
    ("command", {"name": "query-status", "error-class": "Bad"}, "Parameter 'error' is missing"),
    ("connection", {"action": "explode"}, "'cut-before'"),
    ("connection", {"action": "insert", "data": "x", "bytes": "eA=="}, "mutually exclusive"),
    ("remove", {"id": "fault7"}, "there is no fault 'fault7' (faults: none)"),
]


@pytest.mark.parametrize(("command", "arguments", "text"), WRONG)
def test_faults_that_there_are_not(
    bench: Bench, command: str, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(GenericError) as caught:
        bench.control.cmd(f"x-sim-fault-{command}", arguments)
    assert text in caught.value.desc


# The journal


def test_the_journal(bench: Bench) -> None:
    mark = bench.control.cmd("x-sim-journal", last=0)["mark"]
    with bench.connect() as vm:
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
        vm.qmp("block-dirty-bitmap-add", node="disk0", name="b0")
    ask = {"since": mark, "command": "block-dirty-bitmap-add"}
    part = bench.control.cmd("x-sim-journal", ask)
    assert [entry["kind"] for entry in part["entries"]] == ["request", "answer"] * 2
    assert part["entries"][0]["arguments"] == {"node": "disk0", "name": "b0"}
    assert part["dropped"] == 0
    last = bench.control.cmd("x-sim-journal", {**ask, "last": 1})["entries"]
    assert last == part["entries"][-1:]
    text = bench.control.cmd("x-sim-journal", {**ask, "text": True})["text"]
    assert len(text.splitlines()) == 4
    assert bench.control.cmd("x-sim-journal", since=part["mark"], kind="request")["entries"] == []
    (error,) = bench.control.cmd("x-sim-journal-errors")["entries"]
    assert error["command"] == "block-dirty-bitmap-add"
    expected = ["block-dirty-bitmap-add"]
    assert bench.control.cmd("x-sim-journal-errors", expected=expected)["entries"] == []
    with pytest.raises(GenericError, match="there is no kind 'dream' of entries; it is one of"):
        bench.control.cmd("x-sim-journal", kind="dream")


def test_assertions(bench: Bench) -> None:
    with bench.connect() as vm:
        vm.cmd("stop")
        vm.cmd("cont")
    bench.control.cmd("x-sim-assert-called", command="stop", times=1)
    bench.control.cmd("x-sim-assert-order", steps=["stop", "STOP", "cont", {"event": "RESUME"}])
    with pytest.raises(GenericError, match="stop was called once, not twice"):
        bench.control.cmd("x-sim-assert-called", command="stop", times=2)
    with pytest.raises(GenericError, match="'stop' did not happen after 'cont'"):
        bench.control.cmd("x-sim-assert-order", steps=["cont", "stop"])


# The guest


def test_the_guest(bench: Bench) -> None:
    with bench.connect() as vm:
        bench.control.cmd("x-sim-guest-actions", shutdown="pause")
        bench.control.cmd("x-sim-guest-on-powerdown", answer="shutdown", delay=2)
        vm.cmd("system_powerdown")
        bench.control.cmd("x-sim-clock-advance", seconds=3)
        event = vm.event_wait("SHUTDOWN")
        assert event is not None
        assert event["data"] == {"guest": True, "reason": "guest-shutdown"}
        with pytest.raises(GenericError, match="The guest does not run: its state is 'shutdown'"):
            bench.control.cmd("x-sim-guest", operation="reboot")
        vm.cmd("system_reset")
        vm.cmd("cont")
        bench.control.cmd("x-sim-guest", operation="reboot")
        event = vm.event_wait("RESET", match={"data": {"guest": True}})
        bench.control.cmd("x-sim-guest", operation="panic")
        assert vm.cmd("query-status")["status"] == "guest-panicked"
    with pytest.raises(GenericError, match="'ignore', 'eject', 'refuse'"):
        bench.control.cmd("x-sim-guest-on-unplug", answer="dance")


def test_unplugging(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    options = ["--control", f"unix:{path}", "--disk", "d=1M", "--clock", "held", "--board", "pc"]
    with Server(*options) as server, RemoteMachine(path) as control:
        control.cmd("x-sim-guest-on-unplug", answer="eject", device="v*")
        with RemoteMachine(server.path) as vm:
            vm.cmd("device_add", driver="virtio-blk-pci", id="v0", drive="d")
            vm.cmd("device_del", id="v0")
            control.cmd("x-sim-clock-advance", seconds=0)
            assert vm.event_wait("DEVICE_DELETED", match={"data": {"device": "v0"}})


def test_workloads(bench: Bench) -> None:
    options = {"disk": "disk0", "seed": 1, "writes": 20, "interval": 1, "offset": 65536}
    work = bench.control.cmd("x-sim-workload-start", options)
    assert work == {
        "id": "workload0",
        "disk": "disk0",
        "seed": 1,
        "writes": 0,
        "errors": 0,
        "done": False,
    }
    bench.control.cmd("x-sim-clock-advance", seconds=5.5)
    stopped = bench.control.cmd("x-sim-workload-stop", id="workload0")
    assert stopped == {**work, "writes": 5, "done": True}
    assert bench.control.cmd("x-sim-query-workloads") == [stopped]
    bench.control.cmd("x-sim-workload-check", id="workload0")
    with pytest.raises(GenericError, match="'image0' has not what seed 1 has written"):
        bench.control.cmd("x-sim-workload-check", id="workload0", disk="image0")
    with pytest.raises(GenericError, match="there is no workload 'w' "):
        bench.control.cmd("x-sim-workload-stop", id="w")
    with pytest.raises(GenericError, match="no room for 4096 bytes"):
        bench.control.cmd("x-sim-workload-start", disk="disk0", seed=1, length=1)


# The machine's end


def test_reset(bench: Bench) -> None:
    bench.write(1)
    bench.control.cmd("x-sim-clock-advance", seconds=1)
    with bench.connect() as vm:
        bench.control.cmd("x-sim-reset")
        with pytest.raises((OSError, ConnectionError, RuntimeError)):
            vm.cmd("query-status")
    assert bench.read() == "AAAA"
    assert bench.control.cmd("x-sim-query-clock")["now"] == 0
    with bench.connect() as vm:
        assert vm.cmd("query-status")["running"]
    bench.control.cmd("x-sim-reset")
    bench.connect().close()


def test_crash_and_restart(bench: Bench) -> None:
    bench.write(1)
    with bench.connect() as vm:
        vm.cmd("block-dirty-bitmap-add", node="image0", name="b0", persistent=True)
        vm.cmd("block-dirty-bitmap-add", node="image0", name="b1")
        bench.control.cmd("x-sim-restart")
    with bench.connect() as vm:
        (bitmap,) = vm.nodes["image0"]["dirty-bitmaps"]
        assert (bitmap["name"], bitmap["recording"]) == ("b0", True)
    bench.control.cmd("x-sim-crash")
    with pytest.raises(GenericError, match="the machine has been closed"):
        bench.write(2)
    bench.control.cmd("x-sim-restart")
    assert bench.read() == "AQEB"
    with bench.connect() as vm:
        (bitmap,) = vm.nodes["image0"]["dirty-bitmaps"]
        assert bitmap["inconsistent"]


def test_power_loss(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    options = ["--control", f"unix:{path}", "--disk", "disk0=1M", "--clock", "held", "--power"]
    with Server(*options) as server, RemoteMachine(path) as control:
        bench = Bench(server.path, control)
        bench.write(1)
        control.cmd("x-sim-disk-flush", disk="disk0")
        bench.write(2)
        with pytest.raises(GenericError, match="'flushed'"):
            control.cmd("x-sim-power-loss", keep="nothing")
        control.cmd("x-sim-power-loss", keep="flushed")
        control.cmd("x-sim-restart")
        assert bench.read() == "AQEB"


def test_checkpoints(bench: Bench) -> None:
    bench.write(1)
    bench.control.cmd("x-sim-clock-advance", seconds=1)
    made = bench.control.cmd("x-sim-checkpoint")
    assert made == {"id": "checkpoint0", "time": 1_000_000_000}
    bench.write(2)
    with bench.connect() as vm:
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
    bench.control.cmd("x-sim-restore", id="checkpoint0")
    assert bench.read() == "AQEB"
    with bench.connect() as vm:
        assert "dirty-bitmaps" not in vm.nodes["disk0"]
    assert bench.control.cmd("x-sim-query-checkpoints") == [made]
    bench.control.cmd("x-sim-checkpoint-remove", id="checkpoint0")
    with pytest.raises(GenericError, match=r"no checkpoint 'checkpoint0' \(checkpoints: none\)"):
        bench.control.cmd("x-sim-restore", id="checkpoint0")

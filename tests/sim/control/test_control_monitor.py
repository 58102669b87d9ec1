"""The control monitor: beside the ordinary monitors, never among them."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import CommandNotFound, GenericError
from qmpd.profile.shipped import load_control
from qmpd.sim.control.control import Control
from qmpd.sim.control.served import MODULES, SERVED
from qmpd.testing import RemoteMachine

MIB = 1 << 20


@pytest.fixture
def vm() -> Iterator[qmpd.Machine]:
    """A machine with a disk, whose clock is held."""
    with qmpd.Machine(disks={"disk0": "1M"}, clock="held") as machine:
        yield machine


@pytest.fixture
def sockets(vm: qmpd.Machine, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The sockets of its ordinary monitor and of its control monitor."""
    control = str(tmp_path / "control")
    with vm.serve(control=control) as path:
        yield path, control


@pytest.fixture
def control(sockets: tuple[str, str]) -> Iterator[RemoteMachine]:
    """A client of the control monitor."""
    with RemoteMachine(sockets[1]) as client:
        yield client


def test_ordinary_monitors_do_not_change(sockets: tuple[str, str]) -> None:
    with qmpd.Machine() as other, RemoteMachine(sockets[0]) as monitor:
        for query in ("query-commands", "query-qmp-schema"):
            assert monitor.cmd(query) == other.cmd(query)
        for name in SERVED:
            if name.startswith("x-sim-"):
                with pytest.raises(CommandNotFound, match=f"The command {name} has not been found"):
                    monitor.cmd(name)


def test_all_commands_of_the_schema_are_served() -> None:
    listed = [name for name in load_control().entry_points.commands if name != "quit"]
    assert sorted(SERVED) == sorted(listed)


def test_each_module_serves_what_the_table_says() -> None:
    for module, commands in MODULES.items():
        found = __import__(f"qmpd.sim.control.{module}", fromlist=["HANDLERS"]).HANDLERS
        assert tuple(found) == commands


def test_it_tells_of_itself(control: RemoteMachine) -> None:
    names = [entry["name"] for entry in control.cmd("query-commands")]
    assert names == list(SERVED)
    schema = {info["name"]: info for info in control.cmd("query-qmp-schema")}
    assert schema["x-sim-disk-read"]["meta-type"] == "command"
    assert not any(info["meta-type"] == "event" for info in schema.values())
    version = control.cmd("query-version")
    assert control.greeting["QMP"] == {"version": version, "capabilities": []}


@pytest.mark.parametrize("name", ["query-block", "quit", "qmp_capabilities", "x-sim-nothing"])
def test_it_knows_nothing_else(control: RemoteMachine, name: str) -> None:
    with pytest.raises(CommandNotFound):
        control.cmd(name)


def test_it_negotiates(vm: qmpd.Machine) -> None:
    monitor = Control(vm._core.bench).add_qmp("control")
    monitor.opened()
    monitor.output()
    monitor.feed(b'{"execute": "x-sim-query-clock"}')
    assert json.loads(monitor.output())["error"]["class"] == "CommandNotFound"
    monitor.feed(b'{"execute": "qmp_capabilities"}{"execute": "x-sim-query-clock", "id": 1}')
    negotiated, answer = monitor.output().splitlines()
    assert json.loads(negotiated) == {"return": {}}
    assert json.loads(answer)["id"] == 1


def test_several_clients_at_a_time(sockets: tuple[str, str], control: RemoteMachine) -> None:
    with RemoteMachine(sockets[1]) as other:
        assert control.cmd("x-sim-query-clock") == other.cmd("x-sim-query-clock")
    assert control.cmd("x-sim-query-clock")["now"] == 0


def test_it_is_no_character_device(sockets: tuple[str, str], control: RemoteMachine) -> None:
    with RemoteMachine(sockets[0]) as monitor:
        assert monitor.cmd("query-chardev") == []


def test_it_answers_while_a_command_waits(sockets: tuple[str, str], control: RemoteMachine) -> None:
    with RemoteMachine(sockets[0]) as monitor:
        limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        monitor.cmd("block_set_io_throttle", {"device": "disk0", "bps": 65536, **limits})
        monitor.hmp('qemu-io disk0 "write 0 64k"')
        said: list[str] = []
        command = 'qemu-io disk0 "write 0 4k"'
        waiting = threading.Thread(target=lambda: said.append(monitor.hmp(command)))
        waiting.start()
        # the write has reached the throttle when there is a timer for it
        while "next-due" not in control.cmd("x-sim-query-clock"):
            pass
        assert waiting.is_alive()
        control.cmd("x-sim-clock-advance", seconds=10)
        waiting.join(20)
        assert said == [""]


def test_time(control: RemoteMachine) -> None:
    before = control.cmd("x-sim-query-clock")
    assert before["mode"] == "held"
    assert before["now"] == 0
    after = control.cmd("x-sim-clock-advance", seconds=1.5)
    assert after["now"] - before["now"] == after["date"] - before["date"] == 1_500_000_000
    assert control.cmd("x-sim-clock-until-idle") == after
    with pytest.raises(GenericError, match="time does not go back"):
        control.cmd("x-sim-clock-advance", seconds=-1)


def test_a_job_is_seen_on_its_way(sockets: tuple[str, str], control: RemoteMachine) -> None:
    with RemoteMachine(sockets[0]) as monitor:
        for name in ("source", "target"):
            monitor.cmd("blockdev-add", {"driver": "null-co", "node-name": name, "size": 100 * MIB})
        options = {"device": "source", "target": "target", "sync": "full", "speed": MIB}
        monitor.cmd("blockdev-backup", {"job-id": "j", **options})
        control.cmd("x-sim-clock-advance", seconds=36.5)
        job = monitor.cmd("query-jobs")[0]
        assert job["status"] == "running"
        assert (job["current-progress"], job["total-progress"]) == (37 * MIB, 100 * MIB)
        with pytest.raises(GenericError, match="timers are still set after 1 s"):
            control.cmd("x-sim-clock-until-idle", limit=1)
        control.cmd("x-sim-clock-until-idle")
        assert monitor.cmd("query-jobs") == []


def test_until_an_event(sockets: tuple[str, str], control: RemoteMachine) -> None:
    with RemoteMachine(sockets[0]) as monitor:
        for name in ("source", "target"):
            monitor.cmd("blockdev-add", {"driver": "null-co", "node-name": name, "size": 100 * MIB})
        options = {"device": "source", "target": "target", "sync": "full", "speed": MIB}
        monitor.cmd("blockdev-backup", {"job-id": "j", **options})
        wanted: dict[str, Any] = {
            "name": "JOB_STATUS_CHANGE",
            "match": {"data": {"status": "concluded"}},
        }
        with pytest.raises(GenericError, match="no event JOB_STATUS_CHANGE within"):
            control.cmd("x-sim-clock-until-event", {**wanted, "limit": 9.5})
        event = control.cmd("x-sim-clock-until-event", wanted)
        assert event == monitor.event_wait(wanted["name"], match=wanted["match"])
        assert control.cmd("x-sim-query-clock")["now"] // 1_000_000_000 == 99
        with pytest.raises(GenericError, match="event STOP: the machine has nothing left to do"):
            control.cmd("x-sim-clock-until-event", name="STOP")


def test_disks(control: RemoteMachine, vm: qmpd.Machine) -> None:
    assert control.cmd("x-sim-query-disks") == [{"name": "disk0", "size": MIB}]
    data = bytes(range(256))
    control.cmd(
        "x-sim-disk-write",
        disk="disk0",
        offset=4096,
        data=base64.b64encode(data).decode(),
        fua=True,
    )
    assert vm.disk("disk0").read(4096, 256) == data
    control.cmd("x-sim-disk-write", disk="disk0", offset=65536, pattern=0xAB, length=8192)
    read = control.cmd("x-sim-disk-read", disk="disk0", offset=65535, length=3)
    assert base64.b64decode(read["data"]) == b"\0\xab\xab"
    areas = control.cmd("x-sim-disk-map", disk="disk0")
    written = [(area["start"], area["length"]) for area in areas if area["data"]]
    assert written == [(4096, 4096), (65536, 8192)]
    control.cmd("x-sim-disk-discard", disk="disk0", offset=4096, length=4096)
    control.cmd("x-sim-disk-write-zeroes", disk="disk0", offset=65536, length=8192, unmap=True)
    control.cmd("x-sim-disk-flush", disk="disk0")
    assert vm.disk("disk0").read(65536, 8192) == bytes(8192)
    stats = vm.cmd("query-blockstats")[0]["stats"]
    assert (stats["unmap_operations"], stats["flush_operations"]) == (1, 1)
    assert (stats["wr_operations"], stats["rd_operations"]) == (3, 3)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("x-sim-disk-flush", {"disk": "nope"}, "there is no disk 'nope' (disks and nodes: "),
    ("x-sim-disk-map", {"disk": "nope"}, "there is no disk 'nope'"),
    ("x-sim-disk-read", {"disk": "disk0", "offset": MIB, "length": 1}, "Input/output error"),
    ("x-sim-disk-read", {"disk": "disk0", "offset": 0}, "Parameter 'length' is missing"),
    ("x-sim-disk-write", {"disk": "disk0", "offset": 0}, "'data' or 'length' is missing"),
    (
        "x-sim-disk-write",
        {"disk": "disk0", "offset": 0, "data": "AA==", "length": 1},
        "mutually exclusive",
    ),
    ("x-sim-disk-write", {"disk": "disk0", "offset": 0, "data": "?"}, "it is not base64"),
    (
        "x-sim-disk-write",
        {"disk": "disk0", "offset": 0, "pattern": 256, "length": 1},
        "Parameter 'pattern' expects uint8_t",
    ),
    ("x-sim-query-clock", {"x": 1}, "Parameter 'x' is unexpected"),
]


@pytest.mark.parametrize(("name", "arguments", "text"), WRONG)
def test_bad_use(control: RemoteMachine, name: str, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(GenericError) as caught:
        control.cmd(name, arguments)
    assert text in caught.value.desc


async def test_a_machine_on_a_loop(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    async with aio.Machine(disks={"disk0": "1M"}, clock="held") as vm:
        async with vm.serve(control=path):
            argv = [sys.executable, "-m", "qmpd.cli.main", "ctl", path]
            words = ["x-sim-disk-write", "disk=disk0", "offset=0", "pattern=7", "length=2"]
            process = await asyncio.create_subprocess_exec(*argv, *words)
            assert await process.wait() == 0
        assert await vm.disk("disk0").read(0, 3) == b"\7\7\0"


def test_a_socket_that_cannot_be_had(tmp_path: Path) -> None:
    with qmpd.Machine() as vm:
        where = vm.serve(control=tmp_path / "nope" / "control")
        with pytest.raises(GenericError, match="No such file or directory"), where:
            pass
        assert vm.cmd("query-status")["running"]
        with vm.serve(control=tmp_path / "control"):
            pass

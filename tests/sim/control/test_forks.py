"""Forks at the control monitor: other machines in the daemon's process, on their own sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import GenericError
from qmpd.testing import RemoteMachine, Server


class Daemon:
    """A daemon with a control monitor whose clock is held, and a checkpoint of it.

    :param path: of its ordinary monitor
    :param folder: where forks have their sockets
    """

    def __init__(self, server: Server, control: RemoteMachine, folder: Path) -> None:
        self.server = server
        self.control = control
        self.folder = folder
        write(control, 1)
        control.cmd("x-sim-clock-advance", seconds=1)
        control.cmd("x-sim-checkpoint")

    def fork(self, name: str, *, control: bool = True) -> dict[str, Any]:
        """Make a fork whose sockets are called `name`."""
        arguments = {"id": "checkpoint0", "qmp": f"unix:{self.folder}/{name}"}
        if control:
            arguments["control"] = f"unix:{self.folder}/{name}.ctl"
        made: dict[str, Any] = self.control.cmd("x-sim-fork", arguments)
        assert made == {"id": made["id"], **{k: v for k, v in arguments.items() if k != "id"}}
        return made

    def connect(self, name: str) -> RemoteMachine:
        """A client of a fork's monitor."""
        return RemoteMachine(str(self.folder / name))


def write(control: RemoteMachine, pattern: int) -> None:
    """Write to a machine's disk as a guest."""
    control.cmd("x-sim-disk-write", disk="disk0", offset=0, pattern=pattern, length=512)


def read(control: RemoteMachine) -> str:
    """The first bytes of a machine's disk."""
    return str(control.cmd("x-sim-disk-read", disk="disk0", offset=0, length=3)["data"])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose disk begins with ones."""
    path = str(tmp_path / "control")
    options = ["--control", f"unix:{path}", "--disk", "disk0=1M", "--clock", "held"]
    with Server(*options, path=tmp_path / "qmp") as server, RemoteMachine(path) as control:
        yield Daemon(server, control, tmp_path)


def test_a_fork_shares_nothing(daemon: Daemon) -> None:
    write(daemon.control, 2)
    assert daemon.fork("a")["id"] == "fork0"
    assert (daemon.folder / "a").stat().st_mode & 0o777 == 0o600
    assert (daemon.folder / "a.ctl").stat().st_mode & 0o777 == 0o600
    with daemon.connect("a") as vm, daemon.connect("a.ctl") as control:
        assert read(control) == "AQEB"
        write(control, 3)
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
        control.cmd("x-sim-clock-advance", seconds=5)
        assert control.cmd("x-sim-query-clock")["now"] == 6_000_000_000
        control.cmd("x-sim-fault-command", name="query-status", error="no luck")
        with pytest.raises(GenericError, match="no luck"):
            vm.cmd("query-status")
        control.cmd("x-sim-assert-called", command="query-status", times=1)
    with RemoteMachine(daemon.server.path) as vm:
        assert vm.cmd("query-status")["running"]
        assert "dirty-bitmaps" not in vm.nodes["disk0"]
    assert read(daemon.control) == "AgIC"
    assert daemon.control.cmd("x-sim-query-clock")["now"] == 1_000_000_000


def test_forks_go_on_side_by_side(daemon: Daemon) -> None:
    first, second = daemon.fork("a"), daemon.fork("b", control=False)
    assert daemon.control.cmd("x-sim-query-forks") == [first, second]
    with daemon.connect("a") as a, daemon.connect("b") as b:
        a.cmd("stop")
        assert not a.cmd("query-status")["running"]
        assert b.cmd("query-status")["running"]


def test_a_fork_tells_of_its_own_socket(daemon: Daemon) -> None:
    daemon.fork("a")
    with daemon.connect("a") as vm:
        (chardev,) = vm.cmd("query-chardev")
        assert chardev["label"] == "fork0"
        assert chardev["filename"] == f"unix:{daemon.folder}/a,server=on"
    with RemoteMachine(daemon.server.path) as vm:
        (chardev,) = vm.cmd("query-chardev")
        assert chardev["label"] == "monitor0"


def test_the_record_of_a_daemon(tmp_path: Path) -> None:
    path, record = str(tmp_path / "control"), tmp_path / "log"
    options = ["--control", f"unix:{path}", "--log-qmp", str(record)]
    with Server(*options) as server, RemoteMachine(path) as control:
        control.cmd("x-sim-checkpoint")
        control.cmd("x-sim-fork", id="checkpoint0", qmp=f"unix:{tmp_path}/a")
        with RemoteMachine(str(tmp_path / "a")) as vm:
            vm.cmd("query-name")
        control.cmd("x-sim-restore", id="checkpoint0")
        with RemoteMachine(server.path) as vm:
            vm.cmd("query-uuid")
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    asked = [
        (entry["monitor"], entry["message"]["execute"])
        for entry in entries
        if entry["direction"] == "in" and entry["message"]["execute"] != "qmp_capabilities"
    ]
    assert asked == [("fork0", "query-name"), ("monitor0", "query-uuid")]


def test_jobs_in_a_fork(daemon: Daemon) -> None:
    with RemoteMachine(daemon.server.path) as vm:
        vm.cmd("blockdev-add", driver="null-co", node_name="target", size=1 << 20)
    daemon.control.cmd("x-sim-checkpoint-remove", id="checkpoint0")
    daemon.control.cmd("x-sim-checkpoint")
    daemon.fork("a")
    with daemon.connect("a") as vm, daemon.connect("a.ctl") as control:
        control.cmd("x-sim-fault-fail", operation="pwrite", node="target", errno="ENOSPC")
        vm.cmd("blockdev-backup", job_id="j", device="disk0", target="target", sync="full")
        event = vm.event_wait("BLOCK_JOB_COMPLETED")
        assert event is not None
        assert event["data"]["error"] == "No space left on device"


def test_the_end_of_a_fork(daemon: Daemon) -> None:
    daemon.fork("a")
    other = daemon.fork("b")
    with daemon.connect("a") as vm:
        vm.cmd("quit")
        event = vm.event_wait("SHUTDOWN")
        assert event is not None
        assert event["data"]["reason"] == "host-qmp-quit"
        with pytest.raises((OSError, RuntimeError)):
            vm.cmd("query-status")
    assert daemon.control.cmd("x-sim-query-forks") == [other]
    assert not (daemon.folder / "a").exists()
    assert not (daemon.folder / "a.ctl").exists()
    # the place is free again, the id is not
    assert daemon.fork("a")["id"] == "fork2"
    with RemoteMachine(daemon.server.path) as vm:
        assert vm.cmd("query-status")["running"]


def test_the_end_of_the_daemon(daemon: Daemon) -> None:
    daemon.fork("a")
    with daemon.connect("a") as vm:
        with RemoteMachine(daemon.server.path) as first:
            first.cmd("quit")
        assert daemon.server.process is not None
        assert daemon.server.process.wait(20) == 0
        with pytest.raises((OSError, RuntimeError)):
            vm.cmd("query-status")
    assert sorted(path.name for path in daemon.folder.iterdir()) == []


def test_a_fork_lives_as_a_machine_does(daemon: Daemon) -> None:
    daemon.fork("a")
    with daemon.connect("a.ctl") as control:
        # the first machine's end and new beginning is nothing to it
        daemon.control.cmd("x-sim-reset")
        write(control, 3)
        control.cmd("x-sim-restart")
        assert read(control) == "AwMD"
        control.cmd("x-sim-reset")
        assert read(control) == "AQEB"
        control.cmd("x-sim-crash")
        with pytest.raises(GenericError, match="has been closed"):
            read(control)
        control.cmd("x-sim-restart")
        daemon.connect("a").close()


def test_forks_of_forks(daemon: Daemon) -> None:
    first = daemon.fork("a")
    with daemon.connect("a.ctl") as control:
        assert control.cmd("x-sim-query-checkpoints") == []
        write(control, 4)
        control.cmd("x-sim-checkpoint")
        options = {"qmp": f"unix:{daemon.folder}/b", "control": f"unix:{daemon.folder}/b.ctl"}
        second = control.cmd("x-sim-fork", {"id": "checkpoint0", **options})
        assert control.cmd("x-sim-query-forks") == [first, second]
    with daemon.connect("a") as vm:
        vm.cmd("quit")
    with daemon.connect("b.ctl") as control:
        assert read(control) == "BAQE"
        assert control.cmd("x-sim-query-forks") == [second]


WRONG: list[tuple[dict[str, str], str]] = [
    ({"id": "c"}, "there is no checkpoint 'c' (checkpoints: checkpoint0)"),
    ({"qmp": "FOLDER/a"}, "'FOLDER/a' is not unix:PATH"),
    ({"qmp": "unix:"}, "'unix:' is not unix:PATH"),
    ({"control": "tcp::1"}, "'tcp::1' is not unix:PATH"),
    ({"qmp": "unix:FOLDER/qmp"}, "there is a file 'FOLDER/qmp' already"),
    ({"control": "unix:FOLDER/control"}, "there is a file 'FOLDER/control' already"),
    ({"control": "unix:FOLDER/a"}, "'unix:FOLDER/a' cannot be both monitors"),
    ({"qmp": "unix:FOLDER/no/a"}, "Failed to bind socket to FOLDER/no/a: No such file"),
    ({"control": "unix:FOLDER/no/a"}, "Failed to bind socket to FOLDER/no/a: No such file"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG)
def test_forks_that_cannot_be_made(daemon: Daemon, arguments: dict[str, str], text: str) -> None:
    folder = str(daemon.folder)
    asked = {"id": "checkpoint0", "qmp": "unix:FOLDER/a", **arguments}
    with pytest.raises(GenericError) as caught:
        daemon.control.cmd("x-sim-fork", {k: v.replace("FOLDER", folder) for k, v in asked.items()})
    assert text.replace("FOLDER", folder) in caught.value.desc
    assert daemon.control.cmd("x-sim-query-forks") == []
    assert sorted(path.name for path in daemon.folder.iterdir()) == ["control", "qmp"]


def test_a_machine_of_a_program(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        vm.disk("disk0").write(0, b"\x01" * 512)
        with vm.serve(control=path), RemoteMachine(path) as control:
            control.cmd("x-sim-checkpoint")
            qmp = f"unix:{tmp_path}/a"
            control.cmd("x-sim-fork", id="checkpoint0", qmp=qmp, control=f"{qmp}.ctl")
            with RemoteMachine(str(tmp_path / "a.ctl")) as other:
                write(other, 2)
                assert read(other) == "AgIC"
        # the event loop has ended, and forks with it
        assert list(tmp_path.iterdir()) == []
        assert vm.disk("disk0").read(0, 1) == b"\x01"


def test_a_machine_of_an_asynchronous_program(tmp_path: Path) -> None:
    path = str(tmp_path / "control")

    def client() -> None:
        with RemoteMachine(path) as control:
            control.cmd("x-sim-checkpoint")
            control.cmd("x-sim-fork", id="checkpoint0", qmp=f"unix:{tmp_path}/a")
        with RemoteMachine(str(tmp_path / "a")) as other:
            assert other.cmd("query-block") != []

    async def program() -> None:
        async with (
            aio.Machine(disks={"disk0": "1M"}) as vm,
            vm.serve(unix=tmp_path / "qmp", control=path),
        ):
            await asyncio.to_thread(client)

    asyncio.run(program())
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_knows_what_its_machine_was_made_of(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with qmpd.Machine(disks={"other": "2M"}) as vm:
        mark = vm.checkpoint()
    with qmpd.Machine(disks={"disk0": "1M"}) as vm, vm.serve(control=path):
        with RemoteMachine(path) as control:
            control.cmd("x-sim-checkpoint")
            vm.restore(mark)
            vm.restart()
            assert [disk["name"] for disk in control.cmd("x-sim-query-disks")] == ["other"]
            qmp = f"unix:{tmp_path}/a"
            control.cmd("x-sim-fork", id="checkpoint0", qmp=qmp, control=f"{qmp}.ctl")
            control.cmd("x-sim-restore", id="checkpoint0")
        for name in ("control", "a.ctl"):
            with RemoteMachine(str(tmp_path / name)) as control:
                control.cmd("x-sim-restart")
                assert [disk["name"] for disk in control.cmd("x-sim-query-disks")] == ["disk0"]

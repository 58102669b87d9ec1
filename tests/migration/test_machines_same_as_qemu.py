"""From one machine to another: states, events and complaints as with two machines of QEMU's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.migration.world import Side, World, same

NODE = ("-blockdev", "null-co,node-name=n,size=16777216")
QCOW2 = "driver=qcow2,node-name=d,file.driver=file,file.filename=d.qcow2"


def _over(side: Side) -> None:
    side.wait("MIGRATION", "completed", "failed", "cancelled")


@pytest.mark.parametrize(("uri", "stopped"), [("unix:m.sock", False), ("exec", True)])
def test_states_and_events(tmp_path: Path, uri: str, stopped: bool) -> None:
    def scenario(world: World) -> None:
        fifo = world.folder / "fifo"
        if uri == "exec":
            os.mkfifo(fifo)
        to, come = ("exec:cat > fifo", "exec:cat fifo") if uri == "exec" else (uri, uri)
        source = world.start(*NODE)
        target = world.start(*NODE, "-incoming", "defer")
        for side in (source, target):
            side.may("events")
            side.do("query-status")
            side.do("query-migrate")
        if stopped:
            source.do("stop")
            source.wait("STOP")
        target.do("migrate-incoming", uri=come)
        target.do("query-migrate")
        target.do("query-yank")
        source.do("migrate", uri=to)
        _over(source)
        _over(target)
        source.status("postmigrate")
        target.status("paused" if stopped else "running")
        for side in (source, target):
            side.do("query-migrate")
            side.do("query-named-block-nodes")
            side.do("query-yank")
        source.do("migrate", uri=to)
        source.do("cont")
        source.wait("RESUME")

    same(tmp_path, scenario)


def test_to_a_file_and_back(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        world.image("d.qcow2", "1M")
        source = world.start("-blockdev", QCOW2)
        source.io("d", "write -P 5 0 64k")
        source.may("events")
        source.do("migrate", uri="file:state,offset=4096")
        _over(source)
        source.status("postmigrate")
        source.io("d", "read -P 5 0 64k")
        assert not any((world.folder / "state").read_bytes()[:4096])
        target = world.start("-blockdev", QCOW2, "-incoming", "file:state,offset=4096")
        target.status("running")
        target.io("d", "read -P 5 0 64k")
        target.io("d", "write -P 6 0 64k")
        target.do("query-named-block-nodes", flat=True)
        # the image is the target's now
        source.do("cont")
        source.do("query-status")
        return target.complaints()

    same(tmp_path, scenario)


@pytest.mark.parametrize("how", ["continue", "cancel", "stop, then cancel", "quit"])
def test_pause_before_switchover(tmp_path: Path, how: str) -> None:
    def scenario(world: World) -> Any:
        source = world.start(*NODE)
        source.may("events", "pause-before-switchover")
        source.do("migrate-continue", state="pre-switchover")
        source.do("migrate", uri="exec:cat > /dev/null")
        source.wait("MIGRATION", "pre-switchover")
        source.do("query-migrate")
        source.do("query-status")
        source.do("cont")
        source.do("migrate", uri="exec:cat > /dev/null")
        source.may("events")
        source.do("migrate-continue", state="device")
        source.do("query-yank")
        if how == "quit":
            source.do("quit")
            # QEMU itself mostly ends by SIGSEGV here
            assert source.ends() == 0 or world.real
            return None
        if "stop" in how:
            source.do("stop")
            source.do("query-status")
        if "cancel" in how:
            source.do("migrate_cancel")
        else:
            source.do("migrate-continue", state="pre-switchover")
        _over(source)
        source.status("running" if "cancel" in how else "postmigrate")
        source.do("query-migrate")
        return source.complaints()

    same(tmp_path, scenario)


def test_what_cannot_be_begun(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        source = world.start(*NODE)
        source.may("events")
        main = {"channel-type": "main", "addr": {"transport": "exec", "args": ["/nowhere"]}}
        attempts: tuple[dict[str, Any], ...] = (
            {},
            {"uri": "foo"},
            {"uri": "unix:"},
            {"uri": "tcp:foo"},
            {"uri": "tcp:[::1:5"},
            {"uri": "tcp::5,to=x"},
            {"uri": "tcp:a:5,ipv4=maybe"},
            {"uri": "fd:"},
            {"uri": "fd:nobody"},
            {"uri": "fd:5"},
            {"uri": "vsock:5"},
            {"uri": "file:/nowhere/x"},
            {"uri": "file:x,offset=z"},
            {"uri": "file:x,offset=99999999999999999999"},
            {"uri": "file:/dev/fdset/7"},
            {"uri": "exec:true", "channels": [main]},
            {"channels": [main, main]},
            {"channels": []},
            {"uri": "exec:true", "resume": True},
        )
        for arguments in attempts:
            source.do("migrate", **arguments)
            source.do("query-migrate")
        for name in ("migrate_cancel", "migrate-start-postcopy", "query-yank"):
            source.do(name)
        for state in ("none", "active", "completed", "nosuch"):
            source.do("migrate-continue", state=state)
        source.do("migrate-incoming", uri="unix:x")
        source.do("yank", instances=[{"type": "migration"}])
        return source.complaints()

    same(tmp_path, scenario)


@pytest.mark.parametrize("uri", ["unix:/nowhere/s", "tcp:127.0.0.1:1"])
def test_nobody_listens(tmp_path: Path, uri: str) -> None:
    def scenario(world: World) -> Any:
        source = world.start(*NODE)
        source.may("events")
        source.do("migrate", uri=uri)
        _over(source)
        source.do("query-migrate")
        source.do("query-status")
        source.do("human-monitor-command", **{"command-line": "info migrate"})
        return source.complaints()

    same(tmp_path, scenario)


@pytest.mark.parametrize(
    ("stream", "ends"),
    [
        ("nothing", True),
        ("noise", False),
        ("version 2", True),
        ("version 9", False),
        ("cut", True),
    ],
)
def test_what_is_no_stream(tmp_path: Path, stream: str, ends: bool) -> None:
    content = {
        "nothing": b"",
        "noise": b"hello, world",
        "version 2": b"QEVM\0\0\0\2",
        "version 9": b"QEVM\0\0\0\x09",
        "cut": b"QEVM\0\0\0\3\x08",
    }[stream]

    def scenario(world: World) -> Any:
        (world.folder / "s").write_bytes(content)
        target = world.start(*NODE, "-incoming", "defer")
        target.may("events")
        target.do("migrate-incoming", uri="file:s", exit_on_error=ends)
        if ends:
            return target.ends(), target.complaints()
        _over(target)
        target.do("query-migrate")
        target.do("query-status")
        target.do("migrate-incoming", uri="file:s")
        return target.complaints()

    same(tmp_path, scenario)


def test_a_target_that_waits(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        target = world.start(*NODE, "-incoming", "defer")
        target.may("events")
        target.do("migrate", uri="exec:true")
        target.do("system_reset")
        target.do("query-status")
        target.do("stop")
        target.do("query-status")
        target.do("cont")
        target.do("query-status")
        target.do("migrate-incoming", uri="foo:x")
        target.do("migrate-incoming")
        target.do("migrate-incoming", uri="fd:nobody")
        target.do("query-migrate")
        target.do("migrate_cancel")
        said = target.complaints()
        other = world.start("-incoming", "unix:in.sock")
        other.do("query-migrate")
        other.do("quit")
        return said, other.ends(), (world.folder / "in.sock").exists()

    same(tmp_path, scenario)


def test_the_streams_of_each_other_are_refused(tmp_path: Path) -> None:
    """By the name of the machine type, which says that a stream is one of qmpd's."""
    ours, real = (World(tmp_path / name, real=name == "real") for name in ("ours", "real"))
    told = []
    try:
        for sender, receiver in ((ours, real), (real, ours)):
            source = sender.start(*NODE)
            source.may("events")
            source.do("migrate", uri=f"file:{tmp_path / 'state'}")
            _over(source)
            target = receiver.start(*NODE, "-incoming", "defer")
            target.do("migrate-incoming", uri=f"file:{tmp_path / 'state'}")
            told.append((target.ends(), target.complaints()))
    finally:
        for side in (*ours.sides, *real.sides):
            side.close()
    received = "Machine type received is '{}' and local is '{}'"
    failed = "load of migration failed: Invalid argument"
    assert told == [
        (1, [received.format("qmpd-none", "none"), failed]),
        (1, [received.format("none", "qmpd-none"), failed]),
    ]

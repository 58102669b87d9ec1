"""`vm.reset()` and `vm.restart()`: another machine in the place of the present one."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import MachineClosed

QCOW2 = {"path": "/a.qcow2", "format": "qcow2", "size": "4M"}


def connect(path: str) -> tuple[socket.socket, dict[str, object]]:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(path)
    return client, json.loads(client.recv(4096))


def test_reset_brings_images_time_names_and_events_back() -> None:
    with qmpd.Machine(disks={"d": "1M"}, images={"q": QCOW2}, seed=5, clock="held") as vm:

        def look() -> list[object]:
            vm.cmd("blockdev-add", driver="null-co", node_name="n")
            vm.cmd("stop")
            return [
                vm.nodes,
                vm.cmd("query-block"),
                vm.cmd("query-blockstats"),
                vm.clock.now_ns,
                vm.disk("d").read(0, 512),
                vm.disk("q").read(0, 512),
                vm.get_qmp_events(),
            ]

        first = look()
        vm.disk("d").write(0, b"x" * 512)
        vm.disk("q").write(0, b"x" * 512)
        vm.hmp("qemu-io nothing")
        over = {"snapshot-file": "/over", "snapshot-node-name": "over", "format": "qcow2"}
        vm.cmd("blockdev-snapshot-sync", {"node-name": "d", **over})
        vm.clock.advance(5)
        vm.reset()
        assert vm.clock.now == 0
        assert vm.printed == []
        assert look() == first


def test_reset_in_the_middle_of_a_job() -> None:
    with qmpd.Machine(disks={"a": "8M", "b": "8M"}, clock="held") as vm:
        vm.disk("a").write(0, b"x" * (8 << 20))
        vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full", speed=1 << 20)
        vm.clock.advance(1.5)
        vm.reset()
        assert vm.cmd("query-jobs") == []
        with pytest.raises(LookupError, match="there is no job"):
            _ = vm.job("j").status
        vm.clock.until_idle()
        assert vm.get_qmp_events() == []
        assert vm.disk("b").read(0, 8 << 20) == bytes(8 << 20)


@pytest.mark.parametrize("ends_by", ["restart", "quit"])
def test_restart_keeps_images_and_what_is_persistent(ends_by: str) -> None:
    with qmpd.Machine(disks={"d": "1M"}, images={"q": QCOW2}, clock="held") as vm:
        vm.disk("d").write(0, b"x" * 512)
        vm.cmd("block-dirty-bitmap-add", node="q", name="p", persistent=True)
        vm.cmd("block-dirty-bitmap-add", node="q", name="t")
        vm.disk("q").write(0, b"y" * 512)
        vm.clock.advance(3)
        if ends_by == "quit":
            vm.cmd("quit")
            assert vm.closed
        vm.restart()
        assert not vm.closed
        assert vm.clock.now == 3
        assert vm.disk("d").read(0, 512) == b"x" * 512
        assert vm.disk("q").read(0, 512) == b"y" * 512
        (bitmap,) = vm.nodes["q"]["dirty-bitmaps"]
        assert (bitmap["name"], bitmap["persistent"], bitmap["count"]) == ("p", True, 65536)
        assert [event["event"] for event in vm.get_qmp_events()] == ["SHUTDOWN"]


def test_restart_ends_jobs() -> None:
    with qmpd.Machine(disks={"a": "8M", "b": "8M"}) as vm:
        vm.disk("a").write(0, b"x" * (8 << 20))
        vm.cmd("blockdev-mirror", job_id="j", device="a", target="b", sync="full", speed=65536)
        vm.restart()
        assert vm.event_wait("BLOCK_JOB_CANCELLED", timeout=0) is not None
        assert vm.cmd("query-jobs") == []
        assert vm.job("j").status == "null"


@pytest.mark.parametrize("storage", ["memory", "overlay", "host"])
def test_a_machine_that_is_killed_writes_nothing_more(storage: str, tmp_path: Path) -> None:
    image = {**QCOW2, "path": str(tmp_path / "a.qcow2")}
    with qmpd.Machine(disks={"d": "1M", "e": "4M"}, images={"q": image}, storage=storage) as vm:  # type: ignore[arg-type]  # one of three
        vm.cmd("block-dirty-bitmap-add", node="q", name="p", persistent=True)
        vm.disk("q").write(0, b"y" * 512, fua=True)
        vm.disk("d").write(0, b"x" * 512)
        vm.cmd("blockdev-mirror", job_id="j", device="q", target="e", sync="full", speed=65536)
        vm._core.bench.kill()
        with pytest.raises(MachineClosed):
            vm.cmd("query-status")
        assert vm.job("j")._machine.job_records.find("j").status == "null"
        vm.restart()
        assert vm.disk("q").read(0, 512) == b"y" * 512
        assert vm.disk("d").read(512, 512) == bytes(512)
        assert "dirty-bitmaps" not in vm.nodes["q"]


def test_a_closed_machine_stays_closed() -> None:
    vm = qmpd.Machine(disks={"d": "1M"})
    vm.close()
    for bring_back in (vm.reset, vm.restart):
        with pytest.raises(MachineClosed):
            bring_back()


@pytest.mark.parametrize("how", ["reset", "restart"])
def test_clients_are_disconnected_and_may_come_again(how: str) -> None:
    with qmpd.Machine(disks={"d": "1M"}, seed=1) as vm, vm.serve() as path:
        client, greeting = connect(path)
        client.sendall(b'{"execute": "qmp_capabilities"}')
        assert client.recv(4096) == b'{"return": {}}\r\n'
        vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": f"{path}.nbd"}})
        nbd = socket.socket(socket.AF_UNIX)
        nbd.connect(f"{path}.nbd")
        assert nbd.recv(8) == b"NBDMAGIC"
        getattr(vm, how)()
        seen = b"".join(iter(lambda: client.recv(4096), b""))
        assert (b"SHUTDOWN" in seen) == (how == "restart")
        while nbd.recv(4096):
            pass
        assert not Path(f"{path}.nbd").exists()
        again, same = connect(path)
        assert same == greeting
        again.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-name"}')
        assert again.recv(4096).startswith(b'{"return": {}}\r\n')
        assert vm.cmd("query-status")["running"]
        for sock in (client, nbd, again):
            sock.close()


def test_on_an_event_loop() -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": "8M", "b": "8M"}) as vm:
            await vm.disk("a").write(0, b"x" * (8 << 20))
            copy = {"device": "a", "target": "b", "sync": "full", "speed": 1 << 20}
            await vm.cmd("blockdev-backup", {"job-id": "j", **copy})
            # one that waits is told
            waiting = asyncio.ensure_future(vm.event_wait("BLOCK_JOB_COMPLETED"))
            await asyncio.sleep(0)
            await vm.restart()
            assert await vm.disk("a").read(0, 1) == b"x"
            waiting.cancel()
            await vm.reset()
            assert await vm.disk("a").read(0, 1) == b"\0"
            assert await vm.cmd("query-jobs") == []

    asyncio.run(main())


def test_many_resets() -> None:
    with qmpd.Machine(disks={"d": "1M"}, seed=7) as vm:
        seen = set()
        for _ in range(50):
            vm.cmd("blockdev-add", driver="null-co", node_name="n")
            seen.add(str(vm.cmd("query-named-block-nodes")))
            vm.reset()
        assert len(seen) == 1

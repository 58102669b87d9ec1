"""Checkpoints: everything comes back, and a fork shares nothing with what it is a fork of."""

from __future__ import annotations

import asyncio
import enum
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.block.images import MemoryStorage
from qmpd.errors import GenericError, MachineClosed
from qmpd.sim.state.copier import Copier
from tests.sim.state.moves import Session, look, new_machine
from tests.sim.state.test_restart import QCOW2, connect

STEPS = 12
"""Steps of a session before and after a checkpoint."""


def quiet(vm: qmpd.Machine) -> None:
    """Let the jobs end, so that a checkpoint can be made."""
    vm.hmp("qemu-io d aio_flush")
    while jobs := vm.cmd("query-jobs"):
        for verb in ("cancel", "finalize", "dismiss"):
            vm.qmp(f"job-{verb}", {"id": jobs[0]["id"]})
        vm.clock.advance(1)


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=() if seed < 8 else pytest.mark.long) for seed in range(20)],
)
def test_a_session_goes_on_in_a_fork_as_in_the_original(seed: int) -> None:
    schedule = seed if seed % 4 == 3 else None
    with new_machine(seed, schedule) as vm, new_machine(seed, schedule) as plain:
        for machine in (vm, plain):
            Session(seed).skip(STEPS, machine)
            quiet(machine)
        mark = vm.checkpoint()
        seen = look(plain)
        # what comes before and after the fork's way through
        first = mark.fork()
        assert look(first) == seen
        on_first, on_vm, on_plain = (Session(seed + 1000) for _ in range(3))
        second = mark.fork()
        assert look(vm) == seen
        for _ in range(STEPS):
            expected = on_plain.step(plain), look(plain)
            assert (on_first.step(first), look(first)) == expected
            assert (on_vm.step(vm), look(vm)) == expected
        assert look(second) == seen
        on_second, on_again, on_plain = (Session(seed + 2000) for _ in range(3))
        vm.restore(mark)
        assert look(vm) == seen
        plain.close()
        first.close()
        for _ in range(STEPS):
            expected = on_again.step(vm), look(vm)
            assert (on_second.step(second), look(second)) == expected
        second.close()


def test_what_a_checkpoint_holds() -> None:
    with qmpd.Machine(disks={"d": "4M", "t": "4M"}, images={"q": QCOW2}, clock="held") as vm:
        vm.cmd("block-dirty-bitmap-add", node="q", name="p", persistent=True)
        vm.cmd("block-dirty-bitmap-add", node="q", name="off", disabled=True)
        vm.disk("q").write(0, b"x" * 4096)
        vm.cmd("stop")
        vm.clock.advance(2)
        copy = {"job-id": "j", "device": "d", "target": "t", "sync": "full"}
        vm.cmd("blockdev-backup", {**copy, "auto-dismiss": False})
        mark = vm.checkpoint()
        events = [event["event"] for event in vm.get_qmp_events()]
        vm.cmd("job-dismiss", id="j")
        vm.cmd("cont")
        vm.clock.advance(1)
        vm.restore(mark)
        assert mark.time == vm.clock.now == 2
        assert [event["event"] for event in vm.get_qmp_events()] == events
        assert vm.cmd("query-jobs")[0]["status"] == vm.job("j").status == "concluded"
        assert vm.cmd("query-status")["status"] == "paused"
        assert [b["name"] for b in vm.nodes["q"]["dirty-bitmaps"]] == ["off", "p"]
        vm.cmd("job-dismiss", id="j")
        # what it had not written yet is written at the end, by each of them
        with mark.fork() as other:
            other.restart()
            assert [b["name"] for b in other.nodes["q"]["dirty-bitmaps"]] == ["p"]
            assert other.bitmap("q", "p").count == 65536
            assert other.disk("q").read(0, 4096) == b"x" * 4096


def test_jobs_at_work_are_named() -> None:
    with qmpd.Machine(disks={"a": "8M", "b": "8M"}, clock="held") as vm:
        vm.disk("a").write(0, b"x" * (8 << 20))
        copy = {"job-id": "j", "device": "a", "target": "b", "sync": "full", "speed": 1 << 20}
        vm.cmd("blockdev-mirror", copy)
        with pytest.raises(GenericError, match=r"Jobs are at work: 'j' \(running\)"):
            vm.checkpoint()
        assert vm.cmd("query-jobs")[0]["status"] == "running"


def test_requests_at_work_are_refused() -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": "8M"}, clock="held") as vm:
            rates = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"), 0)
            await vm.cmd("block_set_io_throttle", {"device": "a", "iops": 1, **rates})
            writes = [asyncio.ensure_future(vm.disk("a").write(0, b"x")) for _ in range(3)]
            await writes[0]
            with pytest.raises(GenericError, match="Something is still at work"):
                await vm.checkpoint()
            await vm.clock.advance(10)
            await asyncio.gather(*writes)
            await vm.restore(await vm.checkpoint())

    asyncio.run(main())


def test_sockets_and_files_of_the_host_are_refused() -> None:
    with qmpd.Machine(storage="host") as vm, pytest.raises(GenericError, match="files of the host"):
        vm.checkpoint()
    with qmpd.Machine() as vm, vm.serve() as path:
        vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": f"{path}.nbd"}})
        with pytest.raises(GenericError, match="NBD server"):
            vm.checkpoint()
        vm.cmd("nbd-server-stop")
        vm.checkpoint()


def test_over_files_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"host" * 1024)
    with qmpd.Machine(images={"a": str(path)}, storage="overlay", disks={"d": "1M"}) as vm:
        vm.disk("a").write(0, b"1")
        mark = vm.checkpoint()
        with mark.fork() as one, mark.fork() as other:
            one.disk("a").write(1, b"2")
            vm.close()
            assert one.disk("a").read(0, 4) == b"12st"
            one.close()
            assert other.disk("a").read(0, 4) == b"1ost"
    assert path.read_bytes() == b"host" * 1024


def test_after_the_end() -> None:
    vm = qmpd.Machine(disks={"d": "1M"})
    vm.disk("d").write(0, b"x")
    mark = vm.checkpoint()
    vm.cmd("quit")
    with pytest.raises(MachineClosed):
        vm.checkpoint()
    vm.restore(mark)
    assert vm.disk("d").read(0, 1) == b"x"
    vm.close()
    with pytest.raises(MachineClosed):
        vm.restore(mark)
    with mark.fork() as other:
        assert other.disk("d").read(0, 1) == b"x"
        assert other.checkpoint().fork().disk("d").read(0, 1) == b"x"
        other.disk("d").write(0, b"y")
        other.reset()
        assert other.disk("d").read(0, 1) == b"x"


def test_faults_and_journal_stay_with_the_machine_on_the_bench() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm:
        before = vm.checkpoint()
        fault = vm.faults.fail("pwrite", node="d")
        mark = vm.checkpoint()
        with mark.fork() as other:
            other.disk("d").write(0, b"x")
            assert len(other.faults) == 0
        vm.restore(before)
        with pytest.raises(qmpd.errors.BlockIOError):
            vm.disk("d").write(0, b"x")
        assert fault.hits == 1
        fault.remove()
        vm.restore(mark)
        vm.disk("d").write(0, b"x")


def test_clients_at_sockets_come_again() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm, vm.serve() as path:
        client, greeting = connect(path)
        mark = vm.checkpoint()
        vm.restore(mark)
        assert client.recv(4096) == b""
        again, same = connect(path)
        assert same == greeting
        assert vm.cmd("query-status")["running"]
        for sock in (client, again):
            sock.close()
        with mark.fork() as other, other.serve() as other_path:
            client, _ = connect(other_path)
            client.close()


def test_on_an_event_loop() -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": "1M"}, seed=1) as vm:
            await vm.disk("a").write(0, b"x")
            mark = await vm.checkpoint()
            await vm.disk("a").write(0, b"y")
            async with mark.fork() as other:
                assert await other.disk("a").read(0, 1) == b"x"
                await other.cmd("blockdev-add", driver="null-co", node_name="n")
                assert "n" not in await vm.nodes()
                assert "n" in await other.nodes()
            await vm.restore(mark)
            assert await vm.disk("a").read(0, 1) == b"x"

    asyncio.run(main())


def test_constants_are_not_copied() -> None:
    """What modules define is compared by identity."""
    with new_machine(3) as vm:
        Session(3).skip(30, vm)
        quiet(vm)
        contents = vm._core.bench.checkpoint()._contents
        copied: list[Any] = []

        class Recording(Copier):
            def _fill_object(self, copy: Any, value: Any) -> None:
                copied.append(value)
                super()._fill_object(copy, value)

        Recording({}).copy(contents)
        constants = {
            id(value)
            for name, module in tuple(sys.modules.items())
            if name.startswith("qmpd.")
            for value in vars(module).values()
            if not isinstance(value, enum.Enum | type)
        }
        assert len(copied) > 100
        assert [value for value in copied if id(value) in constants] == []


def test_much_data_is_forked_at_once() -> None:
    storage = MemoryStorage()
    with qmpd.Machine(disks={"d": "64G"}, storage=storage) as vm:
        vm.disk("d").write(0, b"x" * (2 << 20))
        # as if all of it had been written
        file = storage._files["/d.raw"]
        page = file._chunks[0]
        file._chunks = {number: page.copy() for number in range(1 << 15)}
        file._own = dict(file._chunks)
        file._present.add(0, (64 << 30) // 4096)
        mark = vm.checkpoint()
        best = 1.0
        for _ in range(10):
            begin = time.process_time()
            other = mark.fork()
            best = min(best, time.process_time() - begin)
            other.disk("d").write((64 << 30) - 1, b"y")
            other.close()
        assert vm.disk("d").read((64 << 30) - 1, 1) == b"x"
        assert best < 0.010, f"{best * 1000:.1f} ms"

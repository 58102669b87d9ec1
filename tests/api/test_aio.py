"""Machines on an event loop, of asyncio and of uvloop, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from qemu.qmp import QMPClient

from qmpd import aio, errors

MIB = 1 << 20

Main = Callable[[], Awaitable[None]]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a coroutine on a loop of each kind, for half a minute at most."""

    def run(main: Main) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(_timed(main))

    return run


async def _timed(main: Main) -> None:
    async with asyncio.timeout(30):
        await main()


async def _backup(vm: aio.Machine, job_id: str = "j", **options: Any) -> None:
    await vm.cmd("blockdev-backup", job_id=job_id, device="a", target="b", sync="full", **options)


def test_everything_there_is(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": MIB, "b": MIB}) as vm:
            await vm.cmd("block-dirty-bitmap-add", node="a", name="m", granularity=4096)
            await vm.disk("a").write(4096, b"hello")
            assert await vm.disk("a").read(4096, 5) == b"hello"
            await vm.disk("a").write_zeroes(65536, 4096)
            await vm.disk("a").discard(131072, 4096)
            await vm.disk("a").flush()
            assert vm.disk("a").size == MIB
            assert (await vm.disk("a").map())[0].start == 0
            bitmap = await vm.bitmap("a", "m")
            assert bitmap.extents == [(4096, 4096), (65536, 4096)]
            assert set(await vm.nodes()) >= {"a", "b"}
            assert await vm.hmp("info name") == ""
            assert (await vm.qmp("nope"))["error"]["class"] == "CommandNotFound"
            with pytest.raises(errors.GenericError):
                await vm.cmd("blockdev-del", node_name="nope")
            await _backup(vm)
            assert await vm.job("j").wait() == "null"
            assert await vm.job("j").status() == "null"
            assert await vm.job("j").progress() == (MIB, MIB)
            assert await vm.job("j").error() is None
            event = await vm.event_wait("BLOCK_JOB_COMPLETED")
            assert event is not None
            assert event["data"]["device"] == "j"
            assert len(await vm.get_qmp_events()) > 3
            assert await vm.get_qmp_event() is None
        assert vm.closed
        with pytest.raises(errors.MachineClosed):
            await vm.cmd("query-status")

    run(main)


def test_machines_side_by_side(run: Callable[[Main], None]) -> None:
    async def work(vm: aio.Machine, number: int) -> float:
        await vm.disk("a").write(0, bytes([number]) * 4 * MIB)
        await _backup(vm, speed=MIB)
        assert await vm.job("j").wait(timeout=None) == "null"
        assert await vm.disk("b").read(0, 4 * MIB) == bytes([number]) * 4 * MIB
        return vm.clock.now

    async def main() -> None:
        disks = {"a": 4 * MIB, "b": 4 * MIB}
        async with aio.Machine(disks=disks) as one, aio.Machine(disks=disks) as other:
            times = await asyncio.gather(work(one, 1), work(other, 2))
            # both clocks are virtual, and each its own
            assert all(2 < seconds < 6 for seconds in times)

    run(main)


def test_commands_at_the_same_time_are_taken_one_after_the_other(
    run: Callable[[Main], None],
) -> None:
    async def main() -> None:
        async with aio.Machine() as vm:
            names = [f"n{number}" for number in range(50)]
            adding = (vm.cmd("blockdev-add", driver="null-co", node_name=name) for name in names)
            assert await asyncio.gather(*adding) == [{}] * 50
            assert list(await vm.nodes()) == names[::-1]

    run(main)


def test_time_that_is_held_moves_by_another_task(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": 4 * MIB, "b": 4 * MIB}, clock="held") as vm:
            await vm.disk("a").write(0, b"x" * 4 * MIB)
            await _backup(vm, speed=MIB)
            waiting = asyncio.create_task(vm.job("j").wait())
            await asyncio.sleep(0)
            assert await vm.job("j").status() == "running"
            await vm.clock.advance(1)
            assert not waiting.done()
            assert vm.clock.now == 1
            await vm.clock.until_idle()
            assert await waiting == "null"

    run(main)


def test_a_wait_that_is_cancelled_takes_nothing(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with aio.Machine() as vm:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await vm.event_wait("STOP")
            with pytest.raises(TimeoutError, match=r"waited 0.01 s for event STOP"):
                await vm.event_wait("STOP", timeout=0.01)
            await vm.cmd("stop")
            assert await vm.event_wait("STOP", timeout=0) is not None

    run(main)


def test_real_time(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": MIB, "b": MIB}, clock="real") as vm:
            await vm.disk("a").write(0, b"x" * MIB)
            await _backup(vm, speed=16 * MIB)
            assert await vm.job("j").wait() == "null"

    run(main)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_machine_behind_a_socket_of_the_same_loop(run: Callable[[Main], None], kind: str) -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": MIB}) as vm:
            served = vm.serve() if kind == "unix" else vm.serve(tcp=("127.0.0.1", 0))
            async with served as address:
                qmp = QMPClient("test")
                await qmp.connect(address)
                await qmp.execute("block-dirty-bitmap-add", {"node": "a", "name": "m"})
                await vm.disk("a").write(0, b"x")
                assert (await vm.bitmap("a", "m")).count == 65536
                with qmp.listener("STOP") as stops:
                    await vm.cmd("stop")
                    await stops.get()
                await qmp.disconnect()
            assert (await vm.cmd("query-status"))["status"] == "paused"

    run(main)


def test_a_machine_that_cannot_be_made(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        with pytest.raises(errors.BlockIOError, match="Could not open 'nope'"):
            async with aio.Machine(images={"a": "nope"}):
                raise AssertionError

    run(main)

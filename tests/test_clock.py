"""The virtual clock: time passes when told to, tasks in order."""

from __future__ import annotations

import pytest

from qmpd.loop.clock import VirtualClock
from qmpd.loop.task import Cancelled, Handle, Waiter


def test_timers_run_in_the_order_in_which_they_fall_due() -> None:
    clock = VirtualClock()
    seen: list[tuple[int, int]] = []

    def call(delay: int) -> Handle:
        return clock.call_later(delay, lambda: seen.append((clock.now(), delay)))

    for delay in (30, 10, 20, 10):
        call(delay)
    call(15).cancel()
    clock.advance(20)
    assert seen == [(10, 10), (10, 10), (20, 20)]
    clock.advance(10)
    assert seen[-1] == (30, 30)


def test_run_jumps_over_idle_time() -> None:
    clock = VirtualClock()

    async def work() -> int:
        await clock.sleep(5_000_000_000)
        return clock.now()

    assert clock.run(work()) == 5_000_000_000


def test_waiting_for_ever_is_an_error() -> None:
    async def work() -> None:
        await Waiter()

    with pytest.raises(RuntimeError, match="waits for ever"):
        VirtualClock().run(work())


def test_tasks_wait_and_are_cancelled() -> None:
    clock, seen, gate = VirtualClock(), [], Waiter()

    async def work(name: str) -> None:
        try:
            await gate
            seen.append(name)
        except Cancelled:
            seen.append(f"{name} cancelled")
            raise

    clock.spawn(work("never begun to wait"), "a")
    task = clock.enter(work("b"), "b")
    task.cancel()
    assert task.done
    assert seen == ["b cancelled"]
    clock.settle()
    gate.wake()
    clock.settle()
    assert seen == ["b cancelled", "never begun to wait"]


def test_an_error_nobody_waits_for_is_raised() -> None:
    clock = VirtualClock()

    async def work() -> None:
        raise ValueError("lost")

    clock.spawn(work(), "lost")
    with pytest.raises(ValueError, match="lost"):
        clock.settle()


def test_the_date_stands_still_and_advances_with_the_time() -> None:
    clock = VirtualClock(start=5, date=1_700_000_000_000_000_000)
    assert [clock.date(), clock.date()] == [1_700_000_000_000_000_000] * 2
    clock.advance(7)
    assert clock.date() == 1_700_000_000_000_000_007

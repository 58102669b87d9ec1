"""Completions of requests to files, and what goes on in bottom halves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from qmpd.loop.asyncio_clock import LoopClock
from qmpd.loop.clock import VirtualClock
from qmpd.loop.completions import LONG, REQUEST_ROUNDS, Loop, RealTimeCompletions
from qmpd.loop.order import Order
from qmpd.loop.task import Waiter


def test_a_request_is_reported_after_what_needs_no_file() -> None:
    clock, seen = VirtualClock(), list[str]()

    async def request(name: str) -> None:
        clock.completions.submit()
        seen.append(f"{name} made")

    async def work(name: str) -> None:
        await clock.completions.of(request(name))
        seen.append(f"{name} reported")

    async def other() -> None:
        await clock.reschedule()
        seen.append("other")

    clock.enter(work("a"), "a")
    clock.enter(work("b"), "b")
    clock.enter(other(), "other")
    clock.settle()
    assert seen == ["a made", "b made", "other", "a reported", "b reported"]


def test_what_reaches_no_file_is_over_at_once() -> None:
    clock, seen = VirtualClock(), list[int]()

    async def request() -> int:
        return 7

    async def work() -> None:
        seen.append(await clock.completions.of(request()))

    clock.enter(work(), "work")
    assert seen == [7]


def test_a_request_that_fails_is_reported_too() -> None:
    clock, seen = VirtualClock(), list[str]()

    async def request() -> None:
        clock.completions.submit()
        raise OSError("broken")

    async def work() -> None:
        try:
            await clock.completions.of(request())
        except OSError as error:
            seen.append(str(error))

    clock.enter(work(), "work")
    assert seen == []
    clock.settle()
    assert seen == ["broken"]


def test_another_s_request_is_not_waited_for() -> None:
    clock, seen = VirtualClock(), list[str]()

    async def without_file() -> None:
        await clock.reschedule()

    async def with_file() -> None:
        clock.completions.submit()

    async def work(name: str) -> None:
        await clock.completions.of(without_file() if name == "plain" else with_file())
        seen.append(name)

    clock.enter(work("plain"), "plain")
    clock.enter(work("file"), "file")
    clock.iterate()
    assert seen == ["plain"]
    clock.settle()
    assert seen == ["plain", "file"]


def test_work_that_is_left_to_a_bottom_half_gives_its_result() -> None:
    clock = VirtualClock()

    async def left() -> int:
        await clock.sleep(5)
        return clock.now()

    async def work() -> int:
        return await clock.in_bottom_half(left(), "left")

    assert clock.run(work()) == 5


def long_request(file: object, work: Callable[[], int], length: int = LONG) -> int:
    """What a request to a file gives, made by a job in real time."""

    async def main() -> int:
        clock = LoopClock()
        done = asyncio.get_running_loop().create_future()

        async def job() -> None:
            completions = clock.completions
            try:
                done.set_result(await completions.of(completions.run((file,), work, length)))
            except OSError as error:
                done.set_exception(error)

        clock.enter(job(), "job")
        try:
            value: int = await done
        finally:
            clock.stop()
        return value

    return asyncio.run(main())


def test_a_thread_makes_a_long_request() -> None:
    assert long_request("file", threading.get_ident) != threading.get_ident()


def test_the_loop_makes_a_short_request() -> None:
    assert long_request("file", threading.get_ident, LONG - 1) == threading.get_ident()


def test_what_a_thread_s_request_raises_is_raised_where_it_was_made() -> None:
    def work() -> int:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        long_request("file", work)


def test_a_file_is_joined_once_no_thread_is_at_work_on_it() -> None:
    async def main() -> None:
        clock, began, go_on = LoopClock(), threading.Event(), threading.Event()
        seen: list[str] = []

        def work() -> None:
            began.set()
            go_on.wait()
            seen.append("written")

        completions = clock.completions
        done = asyncio.get_running_loop().create_future()

        async def job() -> None:
            await completions.of(completions.run(("file",), work, LONG))
            done.set_result(None)

        clock.enter(job(), "job")
        began.wait()
        completions.join("another file")
        assert seen == []
        go_on.set()
        completions.join("file")
        assert seen == ["written"]
        await done
        clock.stop()

    asyncio.run(main())


class Scripted(Loop):
    """A loop whose rounds are run by hand."""

    def __init__(self) -> None:
        self.order = Order()
        self.monitors_due = 0
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None], /) -> None:
        self.callbacks.append(callback)

    def round(self) -> None:
        """Run what was there when it began."""
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


def test_nothing_is_reported_while_a_request_of_a_monitor_goes_through_its_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qmpd.loop.completions.time.monotonic_ns", lambda: 0)
    monkeypatch.setattr("qmpd.loop.completions.REQUEST_TIME", 0)
    loop = Scripted()
    completions = RealTimeCompletions(loop, loop.call_soon)
    waits = [completions.report() for _ in range(2)]
    waiters: list[Waiter] = [wait.send(None) for wait in waits]
    loop.round()
    loop.monitors_due = 1
    for _ in range(REQUEST_ROUNDS):
        loop.round()
        assert not any(waiter.done for waiter in waiters)
    # one that was put off for so long is not put off for ever
    loop.round()
    assert [waiter.done for waiter in waiters] == [True, False]
    loop.monitors_due = 0
    loop.round()
    assert all(waiter.done for waiter in waiters)
    for wait in waits:
        wait.close()


def test_a_command_does_not_wait_as_long_as_a_request_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qmpd.loop.completions.time.monotonic_ns", lambda: 0)
    loop = Scripted()
    completions = RealTimeCompletions(loop, loop.call_soon)
    of_command = next(completions.patiently(completions.report()).__await__())
    of_job = next(completions.report().__await__())
    loop.round()
    loop.round()
    assert [of_command.done, of_job.done] == [True, False]

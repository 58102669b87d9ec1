"""Completions of requests to files, and what goes on in bottom halves."""

from __future__ import annotations

from qmpd.loop.clock import VirtualClock


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

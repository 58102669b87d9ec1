"""The dispatcher: one command at a time, turns, and what happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qmpd.errors import DeviceNotFound, GenericError, QmpError
from qmpd.loop.apart import Midway
from qmpd.loop.task import Waiter
from qmpd.monitor.dispatcher import BATCH, Dispatcher, Work


class Loop:
    """What is called soon is called when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class FakeSource:
    """Commands are coroutines in a list; what happens goes into a common log."""

    def __init__(self, name: str, log: list[str], work: list[Work]) -> None:
        self.name = name
        self.log = log
        self.work = work
        self.errors: list[QmpError] = []
        self.looks: list[Work] = []

    def next_look(self) -> Work | None:
        return self.looks.pop(0) if self.looks else None

    def next_work(self) -> Work | None:
        return self.work.pop(0) if self.work else None

    def completed(self, value: Any) -> None:
        self.log.append(f"{self.name}={value}")

    def failed(self, error: QmpError) -> None:
        self.errors.append(error)

    def flush(self) -> None:
        self.log.append(f"{self.name} flushed")


async def immediate(value: str) -> str:
    return value


async def waiting(waiter: Waiter, value: str) -> str:
    await waiter
    return value


async def failing(error: Exception) -> None:
    raise error


def setup(*counts: int) -> tuple[Loop, Dispatcher, list[str], list[FakeSource]]:
    loop, log = Loop(), list[str]()
    sources = [
        FakeSource("ab"[number], log, [immediate(str(turn)) for turn in range(count)])
        for number, count in enumerate(counts)
    ]
    return loop, Dispatcher(loop.call_soon), log, sources


def test_runs_without_the_loop_what_does_not_wait() -> None:
    loop, dispatcher, log, (source,) = setup(3)
    dispatcher.wake(source)
    assert log == ["a=0", "a=1", "a=2"]
    assert not loop.soon


def test_sources_take_turns() -> None:
    loop, dispatcher, log, (a, b) = setup(2, 2)
    waiter = Waiter()
    b.work.insert(0, waiting(waiter, "held"))
    dispatcher.wake(b)
    dispatcher.wake(a)
    assert log == []
    waiter.wake()
    loop.turn()
    assert log == ["b=held", "b=0", "a=0", "b=1", "a=1"]


def test_one_waiting_command_holds_up_all() -> None:
    loop, dispatcher, log, (a, b) = setup(0, 1)
    waiter = Waiter()
    a.work.append(waiting(waiter, "slow"))
    dispatcher.wake(a)
    dispatcher.wake(b)
    assert dispatcher.busy
    assert log == []
    waiter.wake()
    assert log == []
    loop.turn()
    assert log == ["a=slow", "b=0"]
    assert not dispatcher.busy


def test_long_queue_lets_the_loop_see_others() -> None:
    loop, dispatcher, log, (a, b) = setup(BATCH + 5, 1)
    dispatcher.wake(a)
    assert len(log) == BATCH
    dispatcher.wake(b)
    assert len(log) == BATCH
    loop.turn()
    assert log[BATCH : BATCH + 2] == [f"a={BATCH}", "b=0"]
    assert len(log) == BATCH + 6


def test_output_is_collected_while_commands_run() -> None:
    _, dispatcher, log, (source,) = setup(0)

    async def collects() -> str:
        assert dispatcher.collecting
        dispatcher.flush_later(source)
        return "x"

    source.work += [collects(), collects()]
    dispatcher.wake(source)
    assert log == ["a=x", "a=x", "a flushed", "a flushed"]
    assert not dispatcher.collecting


def test_output_does_not_wait_for_a_waiting_command() -> None:
    _, dispatcher, log, (source,) = setup(0)

    async def collects() -> str:
        dispatcher.flush_later(source)
        await Waiter()
        return "never"

    source.work.append(collects())
    dispatcher.wake(source)
    assert log == ["a flushed"]
    dispatcher.close()


def test_errors() -> None:
    _, dispatcher, log, (source,) = setup(0)
    known = DeviceNotFound("Device 'x' not found")
    source.work += [failing(known), failing(KeyError("y")), immediate("after")]
    dispatcher.wake(source)
    assert source.errors[0] is known
    assert type(source.errors[1]) is GenericError
    assert "KeyError" in source.errors[1].desc
    assert log == ["a=after"]


def test_stop_lets_the_present_command_end_and_begins_no_other() -> None:
    loop, dispatcher, log, (a, b) = setup(0, 1)
    waiter = Waiter()
    a.work += [waiting(waiter, "last"), immediate("no")]
    dispatcher.on_stopped = lambda: log.append("stopped")
    dispatcher.wake(a)
    dispatcher.wake(b)
    dispatcher.stop()
    assert log == []
    waiter.wake()
    loop.turn()
    assert log == ["a=last", "stopped"]
    for work in (*a.work, *b.work):
        work.close()


def test_stop_when_idle() -> None:
    _, dispatcher, log, _ = setup()
    dispatcher.on_stopped = lambda: log.append("stopped")
    dispatcher.stop()
    assert log == ["stopped"]


def test_stop_from_inside_a_command_comes_after_its_reply() -> None:
    _, dispatcher, log, (source,) = setup(0)
    dispatcher.on_stopped = lambda: log.append("stopped")

    async def quits() -> str:
        dispatcher.stop()
        return "bye"

    source.work.append(quits())
    dispatcher.wake(source)
    assert log == ["a=bye", "stopped"]


def test_forgotten_source_loses_its_turn() -> None:
    loop, dispatcher, log, (a, b) = setup(0, 1)
    waiter = Waiter()
    a.work.append(waiting(waiter, "slow"))
    dispatcher.wake(a)
    dispatcher.wake(b)
    dispatcher.forget(b)
    waiter.wake()
    loop.turn()
    assert log == ["a=slow"]
    b.work.pop().close()


def test_commands_that_look_run_beside_one_that_is_midway() -> None:
    loop, dispatcher, log, (a, b) = setup(0, 1)
    b.looks += [immediate("look"), failing(GenericError("blind"))]
    plain, midway = Waiter(), Midway()

    async def slow() -> str:
        await plain
        await midway
        return "slow"

    a.work.append(slow())
    dispatcher.wake(a)
    dispatcher.wake(b)
    assert log == []
    plain.wake()
    loop.turn()
    assert log == ["b=look"]
    assert [error.desc for error in b.errors] == ["blind"]
    b.looks.append(immediate("again"))
    dispatcher.wake(b)
    assert log == ["b=look", "b=again"]
    midway.wake()
    loop.turn()
    assert log == ["b=look", "b=again", "a=slow", "b=0"]


def test_commands_that_look_run_while_the_loop_stands_still() -> None:
    loop, log = Loop(), list[str]()
    still = [True]
    dispatcher = Dispatcher(loop.call_soon, lambda: not still[0], stands_still=lambda: still[0])
    source = FakeSource("a", log, [immediate("0")])
    source.looks.append(immediate("look"))
    dispatcher.wake(source)
    assert log == ["a=look"]
    still[0] = False
    for _ in range(3):
        loop.turn()
    assert log == ["a=look", "a=0"]


def test_aside_does_not_wait_for_the_present_command() -> None:
    _, dispatcher, log, (a,) = setup(0)
    a.work.append(waiting(Waiter(), "slow"))
    dispatcher.wake(a)
    dispatcher.run_aside(immediate("oob"), lambda value: log.append(value), a.failed)
    assert log == ["oob"]
    dispatcher.close()

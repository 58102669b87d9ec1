"""Who runs a machine: the program that calls it, or an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from qmpd.errors import WaitsForever
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.paced_clock import Pace, PacedClock
from qmpd.loop.task import Task

if TYPE_CHECKING:
    from qmpd.api.core import Core

T = TypeVar("T")

Work = Coroutine[Any, Any, T]
"""A coroutine of the machine's, which waits for a `Waiter`."""

LONGEST: Final = 86400 * NANOSECONDS
"""How far a virtual clock goes for one call: some jobs set timers for ever."""

BATCH: Final = 64
"""Things that the machine does before the event loop looks at its sockets again."""


class Driver(Protocol):
    """Runs a machine for a program that waits for what it asked."""

    def run(self, work: Work[T], what: str) -> T:
        """Run `work` to its end and return its result.

        :param what: what is waited for, for the error's text
        :raises WaitsForever: it waits for what will never come
        """

    def call(self, function: Callable[[], T]) -> T:
        """Call a function while the machine does nothing else."""


class ByHand:
    """The program runs the machine, and the machine runs only while it is called.

    The methods are those of `Driver`.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.held = False
        """Whether a call runs no more than it must, for `Loop.step`."""

    def run(self, work: Work[T], what: str) -> T:
        core = self._core
        end = core.clock.now() + LONGEST
        task = core.enter(work, what, lambda _: None)
        while not task.done:
            if not core.clock.run_ready(1) and not self._pass_time(end):
                task.cancel()
                raise WaitsForever(_why(core.clock, what))
        if not self.held:
            core.clock.run_ready()
        if task.error is not None:
            raise task.error
        result: T = task.result
        return result

    def call(self, function: Callable[[], T]) -> T:
        return function()

    def _pass_time(self, end: int) -> bool:
        """Let time pass up to the next timer; False if nothing will come of that.

        :param end: when a virtual clock has gone far enough
        """
        clock = self._core.clock
        if clock.pace is not Pace.REAL:
            return clock.now() < end and clock.jump()
        due = clock.next_due()
        if due is None:
            return False
        time.sleep(max(0, due - clock.now()) / NANOSECONDS)
        return True


def _why(clock: PacedClock, what: str) -> str:
    """Why a wait has no end."""
    due = clock.next_due()
    if due is None:
        return f"{what}: the machine has nothing left to do, and no timer is set"
    if clock.pace is Pace.VIRTUAL:
        return f"{what}: not in a day of the machine's time"
    seconds = (due - clock.now()) / NANOSECONDS
    return f"{what}: the clock is held; the next timer is due in {seconds:g} s (clock.advance)"


class OnLoop:
    """An event loop of asyncio or uvloop runs the machine, between other things.

    :param served: whether somebody may always wait, at a socket: a virtual clock then jumps
        whenever the machine has nothing to do
    """

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop, *, served: bool) -> None:
        self._core = core
        self._loop = loop
        self._waiting = 1 if served else 0
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        core.set_bell(self._ring)
        # others may act while a program waits: its timeouts are the wall's
        core.call_after = loop.call_later
        core.host.loop = loop
        self._ring()

    def detach(self) -> None:
        """Run the machine no longer."""
        self._core.host.leave_loop()
        self._core.set_bell(None)
        self._core.call_after = self._core.call_after_clock
        if self._timer is not None:
            self._timer.cancel()
        self._loop = _NO_LOOP

    def enter(self, work: Work[T], what: str, done: Callable[[Task], None]) -> Task:
        """Run `work`; a virtual clock may jump until it has ended.

        :param done: called with the task when it has
        """
        self._waiting += 1

        def ended(task: Task) -> None:
            self._waiting -= 1
            done(task)

        task = self._core.enter(work, what, ended)
        self._ring()
        return task

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Inside the block somebody may always wait, at a socket."""
        self._waiting += 1
        self._ring()
        try:
            yield
        finally:
            self._waiting -= 1

    def _ring(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if self._core.clock.on_change is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._core.clock.run_ready(BATCH)
        clock = self._core.clock
        if not clock.idle:
            self._ring()
            return
        due = clock.next_due()
        if due is None:
            return
        if clock.pace is Pace.REAL:
            delay = max(0, due - clock.now()) / NANOSECONDS
            self._timer = self._loop.call_later(delay, self._ring)
        elif clock.pace is Pace.VIRTUAL and self._waiting:
            # what has arrived at sockets meanwhile comes before time passes
            self._loop.call_soon(self._jump)

    def _jump(self) -> None:
        clock = self._core.clock
        if self._waiting and clock.idle and not self._scheduled and clock.jump():
            self._ring()


class _NoLoop:
    """The loop of a driver that has been detached: what is still rung goes nowhere."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Do nothing."""


_NO_LOOP: Any = _NoLoop()


class InThread:
    """An event loop in another thread runs the machine; calls of the program wait for it.

    The methods are those of `Driver`.
    """

    def __init__(self, driver: OnLoop, loop: asyncio.AbstractEventLoop) -> None:
        self._driver = driver
        self._loop = loop

    def run(self, work: Work[T], what: str) -> T:
        future: Future[T] = Future()

        def done(task: Task) -> None:
            if task.error is not None:
                future.set_exception(task.error)
            else:
                future.set_result(task.result)

        self._loop.call_soon_threadsafe(lambda: self._driver.enter(work, what, done))
        return future.result()

    def call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()


class Driven(Protocol):
    """A machine with who runs it, as its disks, its jobs, its clock and its sockets see it."""

    _core: Core
    _driver: Driver
    _by_hand: ByHand

"""Time and tasks, without an event loop.

The block layer and the jobs are coroutines that wait for a `Waiter` and for
nothing else.  A `Clock` runs them as tasks and tells them the time.  Which
clock it is decides what time means: the server's follows an event loop and
real time, `VirtualClock` moves only when it is told to (or jumps when idle).
So a machine can live inside an asyncio program, in a plain script, or stand
still in a test, with the same code.
"""

from __future__ import annotations

import heapq
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from qmpd.base.override import override
from qmpd.loop.completions import Completions
from qmpd.loop.order import Order
from qmpd.loop.task import Callback, Handle, Task, Timer, Waiter

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second; every time in qmpd is in nanoseconds."""

T = TypeVar("T")

BottomHalf = Callable[[], Task | None]
"""What `Clock.schedule_bh` takes."""

_DEEPEST_POLL: Final = 16
"""How deep bottom halves that poll may be in each other before the stack is unwound first."""


class Clock(ABC):
    """The time of one machine, and the tasks that run in it."""

    def __init__(self) -> None:
        self.order = Order()
        """Decides what QEMU leaves to chance."""
        self.completions = Completions(self)
        self._rescheduled: list[Waiter] = []
        self._bottom_halves: list[BottomHalf] = []
        self._slices: deque[list[BottomHalf]] = deque()
        self._polls = 0
        self._too_deep: list[Waiter] = []
        self._nested = 0
        self._parked: list[Callback] = []
        self.on_no_memory: Callable[[], None] | None = None
        """Called when an allocation has failed: lets memory go that is kept by for that."""
        self.monitors_due = 0
        """How many turns of monitors come in the loop's next round."""

    @abstractmethod
    def now(self) -> int:
        """Nanoseconds since some fixed moment; never goes back."""

    def date(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    @abstractmethod
    def call_later(self, delay: int, callback: Callback) -> Handle:
        """Call `callback` when `delay` nanoseconds have passed."""

    def call_when_due(self, callback: Callback) -> Handle:
        """What `call_later` does where there is nothing to wait for: a timer that is due now."""
        timer = Timer(callback)
        self.call_soon(timer.expire)
        return timer

    @abstractmethod
    def call_soon(self, callback: Callback) -> None:
        """Call `callback` as soon as what runs now has returned."""

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether nothing is due now."""

    @contextmanager
    def nested_loop(self) -> Iterator[None]:
        """Within, no monitor has its turn: something waits for the loop from inside the loop.

        That is what QEMU's AIO_WAIT_WHILE does, which polls for I/O but not for requests.
        """
        self._nested += 1
        try:
            yield
        finally:
            self._nested -= 1
            if not self._nested:
                parked, self._parked = self._parked, []
                for callback in parked:
                    self.call_in_monitor(callback)

    def call_in_monitor(self, callback: Callback) -> None:
        """Call `callback` in the next round of the loop, after what is ready now.

        Monitors have their turn then (QEMU's iohandler context), unless the loop is nested.
        """
        if self._nested:
            self._parked.append(callback)
            return
        self.monitors_due += 1

        def turn() -> None:
            self.monitors_due -= 1
            if self._nested:
                self._parked.append(callback)
            else:
                callback()

        self.call_soon(turn)

    @property
    def nested(self) -> bool:
        """Whether something waits for the loop from inside the loop."""
        return self._nested > 0

    def schedule_bh(self, callback: BottomHalf) -> None:
        """Run a bottom half soon (aio_bh_schedule_oneshot).

        :param callback: returns the task that it started and that is part of it, or None
        """
        self._bottom_halves.append(callback)
        if len(self._bottom_halves) == 1:
            self.call_soon(self._run_bottom_halves)

    def _run_bottom_halves(self) -> None:
        self._poll_bottom_halves()

    def _poll_bottom_halves(self) -> list[Task]:
        """Run those that are scheduled now, the newest first; returns the tasks that go on.

        One that polls itself runs what is left of those that were scheduled together with it.
        """
        if self.completions.expected and self.order.completes_among_bottom_halves():
            self._bottom_halves.append(self.completions.bottom_half)
        self._slices.append(self._bottom_halves)
        self._bottom_halves = []
        tasks = []
        self._polls += 1
        try:
            while self._slices:
                if not self._slices[0]:
                    self._slices.popleft()
                    continue
                task = self._slices[0].pop()()
                if task is not None and not task.done:
                    tasks.append(task)
        finally:
            self._polls -= 1
        return tasks

    @property
    def has_bottom_halves(self) -> bool:
        """Whether any is scheduled."""
        return bool(self._bottom_halves) or any(self._slices)

    async def poll_bottom_halves(self) -> None:
        """Run the bottom halves that are scheduled now, to their ends (aio_bh_poll)."""
        if self._polls >= _DEEPEST_POLL:
            waiter = Waiter(direct=True)
            # the newest goes on first: those below it on QEMU's stack wait for it
            self._too_deep.append(waiter)
            self.call_soon(lambda: self._too_deep.pop().wake())
            await waiter
        for task in self._poll_bottom_halves():
            await task.ended()

    def go_on_from(self, now: int) -> None:  # noqa: B027 (real time cannot be set)
        """Let `now` be the present moment, where time is not simply the system's."""

    @abstractmethod
    def stop(self) -> None:
        """Run nothing any more, now or later: what is ready and all timers are dropped."""

    def no_memory(self) -> None:
        """Say that an allocation has failed, for whoever goes on all the same."""
        if self.on_no_memory is not None:
            self.on_no_memory()

    def task_failed(self, task: Task) -> None:
        """A task nobody waits for ended with an error: raise it where it is seen."""
        assert task.error is not None
        raise task.error

    async def sleep(self, delay: int) -> None:
        """Let `delay` nanoseconds pass."""
        waiter = Waiter()
        handle = self.call_later(delay, waiter.wake)
        try:
            await waiter
        finally:
            handle.cancel()

    async def reschedule(self) -> None:
        """Go on in a bottom half (``aio_co_schedule``, then ``qemu_coroutine_yield``).

        Coroutines that do so together go on in the order in which they asked.
        """
        waiter = Waiter(direct=True)
        self._rescheduled.append(waiter)
        if len(self._rescheduled) == 1:
            self.schedule_bh(self._run_rescheduled)
        await waiter

    def _run_rescheduled(self) -> None:
        rescheduled, self._rescheduled = self._rescheduled, []
        for waiter in rescheduled:
            waiter.wake()

    async def in_bottom_half(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Have a bottom half do `work`, and go on once it is done.

        Coroutines leave to it what must not be done in a coroutine (QEMU's ``no_co_wrapper``).

        :param name: what the work is, for a task that fails
        :raises BaseException: whatever `work` raises
        """
        done = Waiter(direct=True)

        def ended(_: Task) -> None:
            done.wake()

        task = Task(self, work, name, ended)

        def begin() -> Task:
            task.step()
            return task

        self.schedule_bh(begin)
        await done
        if task.error is not None:
            raise task.error
        result: T = task.result
        return result

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> Task:
        """Start `coroutine` as a task; its first step is taken soon, not now."""
        task = Task(self, coroutine, name)
        self.call_soon(task.step)
        return task

    def enter(
        self,
        coroutine: Coroutine[Any, Any, Any],
        name: str,
        on_done: Callable[[Task], None] | None = None,
    ) -> Task:
        """Start `coroutine` as a task and take its first step before returning."""
        task = Task(self, coroutine, name, on_done)
        task.step()
        return task


class VirtualClock(Clock):
    """Time that stands still until `advance` is called.

    :param start: first value of `now`, nanoseconds
    :param date: first value of `date`, nanoseconds since 1970; that of the system if absent
    """

    def __init__(self, start: int = 0, date: int | None = None) -> None:
        super().__init__()
        self._now = start
        self._epoch = (time.time_ns() if date is None else date) - start
        self._ready: deque[Callback] = deque()
        self._timers: list[tuple[int, int, Timer]] = []
        self._sequence = 0

    def now(self) -> int:
        """Virtual nanoseconds since `start`'s zero."""
        return self._now

    @override
    def date(self) -> int:
        """The date at the start, plus the time that has passed on this clock."""
        return self._epoch + self._now

    @override
    def call_later(self, delay: int, callback: Callback) -> Handle:
        """Call `callback` from within a later `advance` or `run`."""
        if delay <= 0:
            return self.call_when_due(callback)
        timer = Timer(callback)
        self._sequence += 1
        heapq.heappush(self._timers, (self._now + max(0, delay), self._sequence, timer))
        return timer

    @override
    def call_soon(self, callback: Callback) -> None:
        """Call `callback` from within the next `settle`, `advance` or `run`."""
        self._ready.append(callback)

    @property
    def idle(self) -> bool:
        """Whether nothing is due now."""
        return not self._ready

    @override
    def stop(self) -> None:
        self._ready.clear()
        self._timers.clear()

    def settle(self) -> None:
        """Run everything that needs no time to pass."""
        while self._ready:
            self._ready.popleft()()

    def iterate(self) -> None:
        """One round of the main loop: run what is ready now, not what that makes ready."""
        for _ in range(len(self._ready)):
            self._ready.popleft()()

    def step(self) -> bool:
        """Run one thing that needs no time to pass; returns whether there was one."""
        if self._ready:
            self._ready.popleft()()
            return True
        return False

    def advance(self, delta: int) -> None:
        """Let `delta` nanoseconds pass, running what falls due in its order."""
        end = self._now + delta
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if timer.callback is not None:
                timer.callback()
            self.settle()
        self._now = end

    def next_due(self) -> int | None:
        """Time of the next pending call; None when nothing is pending."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def run(self, coroutine: Coroutine[Any, Any, Any], name: str = "main") -> Any:
        """Run `coroutine` to its end, jumping over idle time; returns what it returns.

        :raises RuntimeError: when it waits for something that nothing will wake
        """
        task = self.enter(coroutine, name, on_done=lambda _: None)
        while not task.done:
            self.settle()
            if task.done:
                break
            if not self._timers:
                task.cancel()
                raise RuntimeError(f"{name}: waits for ever")
            self.advance(self._timers[0][0] - self._now)
        if task.error is not None:
            raise task.error
        return task.result

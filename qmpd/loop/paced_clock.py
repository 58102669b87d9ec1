"""A clock for programs that hold a machine: its queue and its time are two things.

What is ready is run by whoever drives the clock: a program that calls the machine, or an event
loop.  How time passes is the clock's `Pace`, whoever drives it: so time can stand still behind a
socket, too.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from qmpd.base.override import override
from qmpd.loop.clock import VirtualClock
from qmpd.loop.task import Callback, Handle, Task, Waiter

LOG = logging.getLogger("qmpd.server")


class Pace(Enum):
    """How time passes."""

    REAL = "real"
    """As the wall's clock has it."""
    VIRTUAL = "virtual"
    """Not at all, until somebody waits and nothing else is to be done: then it jumps to the next
    timer."""
    HELD = "held"
    """Only when `PacedClock.advance` is called."""


class PacedClock(VirtualClock):
    """A machine's time, and the queue of what it does next.

    :param pace: how time passes
    :param date: the date at the start, nanoseconds since 1970; today's if absent.  A clock of
        the real pace always has today's.
    """

    def __init__(self, pace: Pace, date: int | None = None) -> None:
        super().__init__(date=date)
        self.pace = pace
        self._origin = time.monotonic_ns()
        self.on_change: Callable[[], None] | None = None
        """Called when something has become ready, or a timer was set: the driver's bell."""
        self.on_step: Callable[[str, int], None] | None = None
        """Called before time passes that does not pass by itself: with ``advance`` or ``jump``, and
        nanoseconds."""
        self._when_quiet: list[Waiter] = []

    def now(self) -> int:
        """Nanoseconds since the clock was made."""
        if self.pace is Pace.REAL:
            self._now = time.monotonic_ns() - self._origin
        return self._now

    def date(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() if self.pace is Pace.REAL else super().date()

    def call_soon(self, callback: Callback) -> None:
        """Call `callback` when what runs now has returned."""
        self._ready.append(callback)
        if self.on_change is not None:
            self.on_change()

    async def quiet(self) -> None:
        """Wait until nothing else is due now, as GLib's idle sources do."""
        waiter = Waiter(direct=True)
        self._when_quiet.append(waiter)
        if self.on_change is not None:
            self.on_change()
        await waiter

    @property
    def idle(self) -> bool:
        """Whether nothing is due now, and nobody waits for that."""
        return not self._ready and not self._when_quiet

    def call_later(self, delay: int, callback: Callback) -> Handle:
        """Call `callback` when `delay` nanoseconds have passed."""
        self.now()
        handle = super().call_later(delay, callback)
        if self.on_change is not None:
            self.on_change()
        return handle

    @contextmanager
    def let_go(self) -> Iterator[None]:
        """Within, a clock that is held goes on as a virtual one does."""
        pace = self.pace
        if pace is Pace.HELD:
            self.pace = Pace.VIRTUAL
        try:
            yield
        finally:
            self.pace = pace

    @override
    def task_failed(self, task: Task) -> None:
        """Raise a task's error where its program sees it; where a loop runs all, log it."""
        if self.on_change is None:
            super().task_failed(task)
        else:
            LOG.error("task %s failed", task.name, exc_info=task.error)

    def successor(self) -> PacedClock:
        """A clock that goes on with the time of this one, and with nothing to do."""
        clock = PacedClock(self.pace)
        clock.order = self.order
        clock._now, clock._origin, clock._epoch = self.now(), self._origin, self._epoch
        return clock

    def go_on_from(self, now: int) -> None:
        """Let `now` be the present moment."""
        self._now = now
        self._origin = time.monotonic_ns() - now

    def leave_to(self, other: PacedClock) -> None:
        """Let `other` run what is ready, and tell those who wait until nothing is due."""
        while self._ready:
            other.call_soon(self._ready.popleft())
        other._when_quiet += self._when_quiet
        self._when_quiet = []

    def advance(self, delta: int) -> None:
        """Let `delta` nanoseconds pass, running what falls due in its order."""
        if self.on_step is not None:
            self.on_step("advance", delta)
        super().advance(delta)

    def run_ready(self, most: int | None = None) -> bool:
        """Run what is ready, and what timers that are due make ready.

        :param most: how much of it at most; all of it if absent
        :returns: whether there was anything
        """
        ran = False
        left = most
        while left is None or left > 0:
            if not self.step() and not self._run_timer() and not self._tell_quiet():
                break
            ran = True
            if left is not None:
                left -= 1
        return ran

    def _tell_quiet(self) -> bool:
        """Let the first of those go on that wait until nothing is due; whether there was one."""
        if not self._when_quiet:
            return False
        self._when_quiet.pop(0).wake()
        return True

    def _run_timer(self) -> bool:
        """Run the next timer if it is due; whether it was."""
        due = self.next_due()
        if due is None or due > self.now():
            return False
        _, _, timer = heapq.heappop(self._timers)
        if timer.callback is not None:
            timer.callback()
        return True

    def jump(self) -> bool:
        """Go on to the next timer, where the pace is virtual; whether there was one."""
        due = self.next_due() if self.pace is Pace.VIRTUAL else None
        if due is None:
            return False
        if self.on_step is not None and due > self._now:
            self.on_step("jump", due - self._now)
        self._now = max(self._now, due)
        return True

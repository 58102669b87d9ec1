"""An event loop that runs a machine whose time is its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from qmpd.loop.apart import ApartInThread
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.paced_clock import Pace, PacedClock
from qmpd.loop.task import Task

BATCH: Final = 64
"""Things that the machine does before the event loop looks at its sockets again."""

STRETCH: Final = 5_000_000
"""Nanoseconds after which it does no further one before that."""


class Runs(Protocol):
    """Whose machine the loop runs; he may put another one in its place, with another clock."""

    @property
    def clock(self) -> PacedClock:
        """The clock of the machine that there is now."""

    def set_bell(self, bell: Callable[[], None] | None) -> None:
        """Have `bell` rung whenever the machine has got something to do."""

    def enter(
        self, work: Coroutine[Any, Any, Any], what: str, done: Callable[[Task], None]
    ) -> Task:
        """Begin to run `work`; `done` is called with the task when it has ended."""


class OnLoop:
    """An event loop of asyncio or uvloop runs a machine, between other things.

    :param served: whether somebody may always wait, at a socket: a virtual clock then jumps
        whenever the machine has nothing to do
    :param apart: does long work in threads while somebody may always wait
    """

    def __init__(
        self,
        runs: Runs,
        loop: asyncio.AbstractEventLoop,
        *,
        served: bool,
        apart: ApartInThread | None = None,
    ) -> None:
        self._runs = runs
        self._apart = apart
        self._loop = loop
        self._waiting = 0
        self._clients = 0
        """How many blocks there are in which somebody may always wait."""
        if served:
            self._begin_serving()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        runs.set_bell(self._ring)
        self._ring()

    def detach(self) -> None:
        """Run the machine no longer."""
        if self._apart is not None:
            self._apart.detach()
        self._runs.set_bell(None)
        if self._timer is not None:
            self._timer.cancel()
        self._loop = _NO_LOOP

    def enter(
        self, work: Coroutine[Any, Any, Any], what: str, done: Callable[[Task], None]
    ) -> Task:
        """Run `work`; a virtual clock may jump until it has ended.

        :param done: called with the task when it has
        """
        self._waiting += 1

        def ended(task: Task) -> None:
            self._waiting -= 1
            done(task)

        task = self._runs.enter(work, what, ended)
        self._ring()
        return task

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Inside the block somebody may always wait, at a socket."""
        self._begin_serving()
        self._ring()
        try:
            yield
        finally:
            self._waiting -= 1
            self._clients -= 1
            if not self._clients and self._apart is not None:
                self._apart.detach()

    def _begin_serving(self) -> None:
        self._waiting += 1
        self._clients += 1
        if self._clients == 1 and self._apart is not None:
            self._apart.attach(self._call_in_loop)

    def _ring(self) -> None:
        if not self._scheduled:
            try:
                self._loop.call_soon(self._run)
            except MemoryError:
                # the machine would stand still
                self._runs.clock.no_memory()
                self._loop.call_soon(self._run)
            self._scheduled = True

    def _run(self) -> None:
        self._scheduled = False
        if self._runs.clock.on_change is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        until = time.monotonic_ns() + STRETCH
        try:
            for _ in range(BATCH):
                # what is run may put another machine in the place of this one
                if not self._runs.clock.run_ready(1) or time.monotonic_ns() >= until:
                    break
        except BaseException:
            # the loop tells of it, and all else goes on
            self._ring()
            raise
        clock = self._runs.clock
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

    def _call_in_loop(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop; may be called from any thread."""

        def call() -> None:
            callback()
            self._ring()

        self._loop.call_soon_threadsafe(call)

    def _jump(self) -> None:
        clock = self._runs.clock
        if self._apart is not None and self._apart.busy:
            # no time passes for the machine, as if it were done at once
            return
        if self._waiting and clock.idle and not self._scheduled and clock.jump():
            self._ring()


class _NoLoop:
    """The loop of a driver that has been detached: what is still rung goes nowhere."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Do nothing."""


_NO_LOOP: Any = _NoLoop()

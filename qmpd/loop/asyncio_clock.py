"""The server's clock: an event loop's time and queue."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from qmpd.base.override import override
from qmpd.loop.clock import NANOSECONDS, Clock
from qmpd.loop.completions import RealTimeCompletions
from qmpd.loop.task import Callback, Handle, Task

BATCH: Final = 64
"""Callbacks run before the loop looks for input again: short jobs end before the next
request is read, as in QEMU, and long ones do not keep a monitor waiting."""


class _LoopTimer:
    """A timer of the loop that is never early.

    uvloop counts in milliseconds from the beginning of its round, so that its own would be.
    """

    __slots__ = ("_callback", "_clock", "_due", "_handle", "_loop")

    def __init__(
        self,
        clock: LoopClock,
        loop: asyncio.AbstractEventLoop,
        delay: int,
        callback: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._loop = loop
        self._callback = callback
        self._due = time.monotonic_ns() + delay
        self._handle = loop.call_later(delay / NANOSECONDS, self._ring)

    def _ring(self) -> None:
        if self._clock.stopped:
            return
        early = self._due - time.monotonic_ns()
        if early > 0:
            self._handle = self._loop.call_later(max(early / NANOSECONDS, 0.001), self._ring)
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()


class LoopClock(Clock):
    """Real time; tasks run in `loop` between the monitors' input.

    :param loop: the loop that will run; the running one where absent
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop() if loop is None else loop
        self._ready: deque[Callback] = deque()
        self._scheduled = False
        self.completions = RealTimeCompletions(self, self._loop.call_soon_threadsafe)
        self.stopped = False

    def now(self) -> int:
        """The system's monotonic clock."""
        return time.monotonic_ns()

    @override
    def call_later(self, delay: int, callback: Callback) -> Handle:
        if delay <= 0:
            return self.call_when_due(callback)
        return _LoopTimer(self, self._loop, delay, callback)

    @override
    def call_soon(self, callback: Callback) -> None:
        self._ready.append(callback)
        if not self._scheduled:
            self._schedule()

    @override
    def stop(self) -> None:
        self.stopped = True
        self._ready.clear()
        self.completions.stop()

    @property
    def idle(self) -> bool:
        """Whether no callback is due."""
        return not self._ready

    def _schedule(self) -> None:
        if self._ready and not self._scheduled and not self.stopped:
            try:
                self._loop.call_soon(self._run)
            except MemoryError:
                # nothing would be run any more
                self.no_memory()
                self._loop.call_soon(self._run)
            self._scheduled = True

    def _run(self) -> None:
        self._scheduled = False
        try:
            # What these schedule waits for the loop's next round, as QEMU's bottom halves do.
            for _ in range(min(BATCH, len(self._ready))):
                if self.stopped:
                    break
                self._ready.popleft()()
        finally:
            if self._ready:
                self._schedule()

    def task_failed(self, task: Task) -> None:
        """Report a task's error to the loop's exception handler (a log line, no end)."""
        self._loop.call_exception_handler(
            {"message": f"task {task.name} failed", "exception": task.error}
        )

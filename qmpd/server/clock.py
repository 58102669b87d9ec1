"""The server's clock: an event loop's time and queue."""

from __future__ import annotations

import asyncio
import time

from qmpd.clock import NANOSECONDS, Callback, Clock, Handle, Task


class LoopClock(Clock):
    """Real time; tasks run in `loop` between the monitors' input.

    :param loop: the loop that will run; the running one where absent
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = asyncio.get_running_loop() if loop is None else loop

    def now(self) -> int:
        """The system's monotonic clock."""
        return time.monotonic_ns()

    def call_later(self, delay: int, callback: Callback) -> Handle:
        """See `Clock.call_later`."""
        return self._loop.call_later(delay / NANOSECONDS, callback)

    def call_soon(self, callback: Callback) -> None:
        """See `Clock.call_soon`."""
        self._loop.call_soon(callback)

    def task_failed(self, task: Task) -> None:
        """Report a task's error to the loop's exception handler (a log line, no end)."""
        self._loop.call_exception_handler(
            {"message": f"task {task.name} failed", "exception": task.error}
        )

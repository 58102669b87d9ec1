"""Who runs a machine: the program that calls it, or an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from qmpd.api.by_hand import run_to_end
from qmpd.loop.on_loop import OnLoop as PlainOnLoop
from qmpd.loop.task import Task

if TYPE_CHECKING:
    from qmpd.api.core import Core

T = TypeVar("T")

Work = Coroutine[Any, Any, T]
"""A coroutine of the machine's, which waits for a `Waiter`."""


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
        task = core.enter(work, what, lambda _: None)
        if not task.done:
            run_to_end(core, task, what)
        if not self.held:
            core.clock.run_ready(core.clock.order.after_answer())
        if task.error is not None:
            raise task.error
        result: T = task.result
        return result

    def call(self, function: Callable[[], T]) -> T:
        return function()


class OnLoop(PlainOnLoop):
    """An event loop runs the machine of `core`: see `qmpd.loop.on_loop`."""

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop, *, served: bool) -> None:
        super().__init__(core, loop, served=served, apart=core.host.apart)
        self._core = core
        # others may act while a program waits: its timeouts are the wall's
        core.call_after = loop.call_later
        core.host.loop = loop

    def detach(self) -> None:
        """Run the machine no longer."""
        self._core.host.leave_loop()
        self._core.call_after = self._core.call_after_clock
        super().detach()


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

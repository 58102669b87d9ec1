"""Tasks: coroutines that wait for a `Waiter` and for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

Callback = Callable[[], None]


class Runner(Protocol):
    """What runs tasks: a `qmpd.loop.clock.Clock`."""

    def call_soon(self, callback: Callback, /) -> None:
        """Call `callback` as soon as what runs now has returned."""

    def task_failed(self, task: Task, /) -> None:
        """Take note that a task nobody waits for has ended with an error."""


class Handle(Protocol):
    """A timer that can be called off."""

    def cancel(self) -> None:
        """Call the timer off; does nothing when it has run."""


class Cancelled(BaseException):
    """Thrown into a task by `Task.cancel`; like asyncio's, no error of the program."""


class Waiter:
    """Something a coroutine waits for: ``await waiter`` returns when `wake` was called.

    :param direct: a task that waits goes on within `wake`, not soon after it
    """

    __slots__ = ("_callback", "_done", "direct")

    def __init__(self, *, direct: bool = False) -> None:
        self._done = False
        self.direct = direct
        self._callback: Callback | None = None

    def __await__(self) -> Generator[Waiter, None, None]:
        if not self._done:
            yield self

    @property
    def done(self) -> bool:
        """Whether `wake` was called."""
        return self._done

    @property
    def callback(self) -> Callback | None:
        """What `when_done` was given."""
        return self._callback

    def wake(self) -> None:
        """Let the coroutine that waits here go on; further calls do nothing."""
        if self._done:
            return
        self._done = True
        if self._callback is not None:
            self._callback()

    def when_done(self, callback: Callback) -> None:
        """Call `callback` once `wake` is called (by the one task that waits)."""
        self._callback = callback


class Task:
    """A coroutine on its way, stepped whenever what it waits for is there.

    :param on_done: called with the task when it has ended
    """

    __slots__ = (
        "_clock",
        "_coroutine",
        "_on_done",
        "_waiter",
        "_waiting",
        "done",
        "error",
        "name",
        "result",
    )

    def __init__(
        self,
        clock: Runner,
        coroutine: Coroutine[Waiter, None, Any],
        name: str,
        on_done: Callable[[Task], None] | None = None,
    ) -> None:
        self._clock = clock
        self._coroutine = coroutine
        self._on_done = on_done
        self._waiter: Waiter | None = None
        self._waiting: list[Waiter] = []
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def step(self) -> None:
        """Run the coroutine until it waits again or ends."""
        if self.done:
            return
        self._waiter = None
        try:
            waiter = self._coroutine.send(None)
        except BaseException as error:
            self._ended(error)
        else:
            self._wait(waiter)

    def _wait(self, waiter: Waiter) -> None:
        self._waiter = waiter
        try:
            if waiter.direct:
                waiter.when_done(self.step)
            else:
                waiter.when_done(lambda: self._clock.call_soon(self.step))
        except MemoryError as error:
            # nobody would wake it
            self._throw(error)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for something that has not come yet."""
        return self._waiter is not None and not self._waiter.done and not self.done

    def cancel(self) -> None:
        """Throw `Cancelled` into the coroutine where it waits, at once."""
        if self.done:
            return
        if self._waiter is not None:
            self._waiter.when_done(lambda: None)
        self._throw(Cancelled())

    def _throw(self, thrown: BaseException) -> None:
        """Go on by raising something where the coroutine waits."""
        try:
            waiter = self._coroutine.throw(thrown)
        except BaseException as error:
            self._ended(error)
        else:
            self._wait(waiter)

    async def ended(self) -> None:
        """Wait until it has ended; a result or an error is left to others."""
        if not self.done:
            waiter = Waiter()
            self._waiting.append(waiter)
            await waiter

    def _ended(self, how: BaseException) -> None:
        self.done = True
        for waiter in self._waiting:
            waiter.wake()
        if isinstance(how, StopIteration):
            self.result = how.value
        else:
            self.error = how
        if self._on_done is not None:
            self._on_done(self)
        elif self.error is not None and not isinstance(self.error, Cancelled):
            self._clock.task_failed(self)


class Timer:
    """A pending call that can be called off."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """See `Handle.cancel`."""
        self.callback = None

    def expire(self) -> None:
        """Call what is pending, if it was not called off."""
        if self.callback is not None:
            self.callback()

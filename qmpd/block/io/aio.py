"""Requests to a backend that nobody waits for (``blk_aio_preadv`` and its kind)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from qmpd.block.model.failure import failure_of
from qmpd.errors import BlockIOError
from qmpd.loop.apart import Midway
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock

T = TypeVar("T")

Done = Callable[[T | None, BlockIOError | None], None]
"""Takes the result of a request, or its failure."""


class Drainable(Protocol):
    """A backend, as far as requests wait for a drained section to end."""

    async def wait_while_drained(self) -> None:
        """Wait until requests may begin."""


class _Request(Generic[T]):
    """One request, and what came of it."""

    def __init__(self, work: Coroutine[Any, Any, T], done: Done[T]) -> None:
        self.work = work
        self.done = done
        self.result: T | None = None
        self.error: BlockIOError | None = None
        self.ended = False
        self.has_returned = False
        """Whether who started it has gone on."""


class AioRequests:
    """The requests under way on one backend.

    A drained section waits for them, but not for those that have yet to begin because the section
    was there before them.
    """

    def __init__(self, loop: Clock, backend: Drainable) -> None:
        self._loop = loop
        self._backend = backend
        self._under_way = 0
        self._watchers: list[Waiter] = []

    def start(self, request: Coroutine[Any, Any, T], done: Done[T]) -> None:
        """Begin a request at once.

        :param done: called when it has ended; never before this returns
        """
        run = _Request(request, done)
        self._loop.enter(self._follow(run), "aio request")
        if run.ended:
            self._loop.schedule_bh(lambda: self._complete(run))
        run.has_returned = True

    async def _follow(self, run: _Request[T]) -> None:
        try:
            await self._backend.wait_while_drained()
            self._under_way += 1
            try:
                run.result = await self._loop.completions.patiently(run.work)
            except Exception as error:
                run.error = failure_of(error, self._loop)
        finally:
            run.work.close()
        run.ended = True
        if run.has_returned:
            self._complete(run)

    def _complete(self, run: _Request[Any]) -> None:
        run.done(run.result, run.error)
        self._under_way -= 1
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.wake()

    def poll(self) -> Waiter | None:
        """Something to wait for while requests are under way, None when there are none."""
        if not self._under_way:
            return None
        waiter = Midway()
        self._watchers.append(waiter)
        return waiter

"""A lock for coroutines that wait on `qmpd.loop.task.Waiter` (QEMU's CoMutex)."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from qmpd.loop.task import Waiter


class CoMutex:
    """A fair lock: waiting coroutines get it in the order in which they asked.

    Taking it when it is free does not suspend.
    """

    __slots__ = ("_locked", "_waiting")

    def __init__(self) -> None:
        self._locked = False
        self._waiting: deque[Waiter] = deque()

    @property
    def locked(self) -> bool:
        """Whether some coroutine holds the lock."""
        return self._locked

    async def acquire(self) -> None:
        """Take the lock, waiting for it if need be."""
        if not self._locked:
            self._locked = True
            return
        waiter = Waiter()
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done:
                self.release()
            else:
                self._waiting.remove(waiter)
            raise

    def release(self) -> None:
        """Give the lock to the next that waits, or free it."""
        if self._waiting:
            self._waiting.popleft().wake()
        else:
            self._locked = False

    async def __aenter__(self) -> None:
        if self._locked:
            await self.acquire()
        else:
            self._locked = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

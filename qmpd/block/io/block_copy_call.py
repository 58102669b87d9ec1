"""Copying a range with several requests at a time (``block_copy``, block/block-copy.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from qmpd.block.io.block_copy import CopyFailed
from qmpd.block.model.failure import failure_of
from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.io.block_copy import Area, BlockCopyState

MAX_WORKERS: Final = 64


class CopyLimit(Protocol):
    """How fast a copy may go."""

    def may_go(self, length: int) -> bool:
        """Whether a request of `length` bytes may go now; if so it is counted."""

    async def wait(self) -> None:
        """Wait until another request may go."""


async def block_copy(
    state: BlockCopyState,
    offset: int,
    length: int,
    *,
    max_chunk: int = 0,
    max_workers: int = MAX_WORKERS,
    limit: CopyLimit | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Copy all that is dirty in an area of whole clusters, and wait for what others copy there.

    :param max_chunk: bytes of the longest request, 0 for the default
    :param max_workers: requests at a time
    :param limit: of the speed
    :param cancelled: whether to start nothing more
    :raises CopyFailed: a request failed; the area is dirty again
    """
    call = _Call(state, max_chunk, max_workers, limit, cancelled)
    while True:
        copied = await call.run(offset, length)
        if call.stopped:
            return
        if not copied and not await state.wait_for_one(offset, length):
            return


class _Call:
    """One call of `block_copy` (QEMU's BlockCopyCallState)."""

    def __init__(
        self,
        state: BlockCopyState,
        max_chunk: int,
        max_workers: int,
        limit: CopyLimit | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._state = state
        self._max_chunk = max_chunk
        self._max_workers = max_workers
        self._limit = limit
        self._cancelled = cancelled
        self._running = 0
        self._failure: CopyFailed | None = None
        self._slot: Waiter | None = None
        self.stopped = False

    async def run(self, offset: int, length: int) -> bool:
        """Copy what is dirty now; returns whether there was anything."""
        state, end = self._state, offset + length
        found = False
        while offset < end and self._failure is None:
            if self._cancelled is not None and self._cancelled():
                self.stopped = True
                break
            area = await state.take(offset, end, self._max_chunk)
            if area is None:
                break
            found = True
            if area.start == area.end:
                offset = area.end
                continue
            if self._limit is not None and not self._limit.may_go(area.end - area.start):
                # Others may have the area while this call waits.
                state.give_back(area, failed=True)
                await self._limit.wait()
                continue
            offset = area.end
            await self._wait_for(self._max_workers - 1)
            if self._failure is not None:
                state.give_back(area, failed=True)
                break
            self._running += 1
            state.source.services.loop.enter(self._copy(area), "block copy")
        await self._wait_for(0)
        if self._failure is not None:
            raise self._failure
        return found

    async def _wait_for(self, most: int) -> None:
        while self._running > most:
            self._slot = Waiter(direct=True)
            await self._slot

    async def _copy(self, area: Area) -> None:
        state = self._state
        failure: CopyFailed | None = None
        length = area.end - area.start
        try:
            await state.copy_area(area)
        except CopyFailed as error:
            failure = error
        except Exception as error:
            code = failure_of(error, state.source.services.loop).errno
            failure = CopyFailed(BlockIOError(code or errno.EIO), is_read=False)
        if failure is not None and self._failure is None:
            self._failure = failure
        if failure is None and state.progress is not None:
            state.progress.work_done(length)
        state.give_back(area, failed=failure is not None)
        self._running -= 1
        if self._slot is not None:
            slot, self._slot = self._slot, None
            slot.wake()

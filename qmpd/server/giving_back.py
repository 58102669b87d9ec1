"""Memory that nobody uses, given back to the system."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

from qmpd.server.collecting import Collecting

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.monitor.dispatcher import Dispatcher

EVERY: Final = 5.0
"""Seconds between two looks."""
WORK: Final = 0.05
"""Seconds of the processor's time since the last look, after which there may be something to do."""


@cache
def _malloc_trim() -> Callable[[int], object] | None:
    """What gives it back (malloc_trim(3)), where there is such a thing."""
    import ctypes

    return getattr(ctypes.CDLL(None), "malloc_trim", None)


class GivingBack:
    """Does that now and then, while the process is at work.

    Once a large piece of memory was freed, glibc keeps up to 64 MiB of what is freed after it, and
    more where something in use lies behind.  Cycles are left to `Collecting`.
    """

    def __init__(self, loop: AbstractEventLoop, dispatcher: Callable[[], Dispatcher]) -> None:
        self._loop = loop
        self._dispatcher = dispatcher
        self._begun = 0
        self._collecting = Collecting()
        self._used = 0.0
        self._ended = False

    def start(self) -> None:
        """Begin."""
        self._collecting.begin()
        self._used = time.process_time()
        self._loop.call_later(EVERY, self._look)

    def end(self) -> None:
        """Go no further."""
        self._ended = True
        self._collecting.end()

    def _look(self) -> None:
        if self._ended:
            return
        dispatcher = self._dispatcher()
        quiet = dispatcher.idle and dispatcher.begun == self._begun
        self._begun = dispatcher.begun
        self._collecting.look(quiet=quiet)
        if time.process_time() - self._used > WORK:
            try:
                trim = _malloc_trim()
            except (OSError, ImportError, MemoryError):
                # there are no descriptors or no memory to load it
                trim = None
            if trim is not None:
                trim(0)
        self.start()

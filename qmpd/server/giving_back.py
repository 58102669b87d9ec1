"""Memory that the C library keeps for later, given back to the system."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

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
    more where something in use lies behind.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._used = 0.0
        self._ended = False

    def start(self) -> None:
        """Begin."""
        self._used = time.process_time()
        self._loop.call_later(EVERY, self._look)

    def end(self) -> None:
        """Go no further."""
        self._ended = True

    def _look(self) -> None:
        if self._ended:
            return
        if time.process_time() - self._used > WORK:
            try:
                trim = _malloc_trim()
            except (OSError, ImportError, MemoryError):
                # there are no descriptors or no memory to load it
                trim = None
            if trim is not None:
                trim(0)
        self.start()

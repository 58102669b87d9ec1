"""How fast a job may go: QEMU's accounting in slices of time."""

from __future__ import annotations

from typing import Final

from qmpd.loop.clock import NANOSECONDS

SLICE: Final = NANOSECONDS // 10
"""Length of a slice, nanoseconds."""


class RateLimit:
    """Lets a job dispatch so much in each slice; what exceeds it stretches the slice.

    The first request of a slice always goes through, however large.
    """

    def __init__(self) -> None:
        self._quota = 0
        self._start = 0
        self._end = -1
        self._dispatched = 0

    def set_speed(self, speed: int) -> None:
        """Allow `speed` bytes per second; 0 for no limit."""
        self._quota = max(int(speed * SLICE / NANOSECONDS), 1) if speed else 0

    def delay(self, now: int, dispatched: int = 0) -> int:
        """Account for `dispatched` bytes more.

        :param now: the clock's time, nanoseconds
        :returns: nanoseconds to wait before the next request, 0 when it may go at once; negative
            where the wait is over because the limit has been raised meanwhile
        """
        if not self._quota:
            return 0
        if self._end < now:
            self._start = now
            self._end = now + SLICE
            self._dispatched = 0
        self._dispatched += dispatched
        if self._dispatched < self._quota:
            return 0
        self._end = self._start + int(self._dispatched / self._quota * SLICE)
        return self._end - now

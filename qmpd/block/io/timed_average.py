"""Averages over the last few seconds (QEMU's TimedAverage): of what query-blockstats times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from qmpd.loop.clock import NANOSECONDS

_TIMED: Final = ("rd", "wr", "zone_append", "flush")
_QUEUED: Final = ("rd", "wr", "zone_append")


class _Window:
    """Values since some moment, until `end`."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.clear()

    def clear(self) -> None:
        self.count = self.sum = self.largest = 0
        self.smallest: int | None = None

    def add(self, value: int) -> None:
        self.count += 1
        self.sum += value
        self.largest = max(self.largest, value)
        self.smallest = value if self.smallest is None else min(self.smallest, value)


class TimedAverage:
    """Smallest, largest and average of the values of about the last `period`.

    Two windows overlap by half; the older one is what is shown, so the windows are longer
    than `period` by a third, to cover between two and four thirds of it.

    :param now: the clock's time, nanoseconds
    :param period: nanoseconds
    """

    def __init__(self, now: int, period: int) -> None:
        self._length = period * 4 // 3
        self._windows = _Window(now + self._length // 2), _Window(now + self._length)

    def account(self, value: int, now: int) -> None:
        """Take a value in, at the time `now`."""
        self._turn(now)
        for window in self._windows:
            window.add(value)

    def latencies(self, now: int) -> tuple[int, int, int]:
        """Smallest, largest and average value; zeroes where there is none."""
        window = self._turn(now)
        average = window.sum // window.count if window.count else 0
        return window.smallest or 0, window.largest, average

    def density(self, now: int) -> float:
        """The sum of all values by the time that they are of."""
        window = self._turn(now)
        return window.sum / (self._length - (window.end - now))

    def _turn(self, now: int) -> _Window:
        """Begin anew the windows that are over; returns the older one."""
        for window in self._windows:
            if window.end <= now:
                window.clear()
                window.end = now + self._length - (now - window.end) % self._length
        first, second = self._windows
        return first if first.end < second.end else second


class TimedStats:
    """How long requests of one backend took, over one interval (``-drive stats-intervals.N``).

    :param interval: seconds
    :param now: the clock
    """

    def __init__(self, interval: int, now: Callable[[], int]) -> None:
        self.interval = interval
        self._now = now
        self._averages = {kind: TimedAverage(now(), interval * NANOSECONDS) for kind in _TIMED}

    def account(self, kind: str, duration: int) -> None:
        """A request of this kind took `duration` nanoseconds."""
        average = self._averages.get(kind)
        if average is not None:
            average.account(duration, self._now())

    def info(self) -> dict[str, Any]:
        """BlockDeviceTimedStats."""
        members: dict[str, Any] = {"interval_length": self.interval}
        for kind, average in self._averages.items():
            values = average.latencies(self._now())
            for what, value in zip(("min", "max", "avg"), values, strict=True):
                members[f"{what}_{kind}_latency_ns"] = value
        for kind in _QUEUED:
            members[f"avg_{kind}_queue_depth"] = self._averages[kind].density(self._now())
        return members

"""Leaky buckets: how long a request has to wait under given limits.

Every limit is a bucket that requests fill and time empties at its rate.  A request waits while
a bucket it fills is above its brim: what bursts allow, or a tenth of a second of the rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qmpd.block.throttle.limits import BUCKETS, Bucket, ThrottleConfig
from qmpd.loop.clock import NANOSECONDS

READ: Final = False
WRITE: Final = True

_FILLED: Final = {
    READ: ("bps-total", "iops-total", "bps-read", "iops-read"),
    WRITE: ("bps-total", "iops-total", "bps-write", "iops-write"),
}
"""The buckets that a request of each direction fills."""


@dataclass(slots=True)
class _Level:
    """How full a bucket is, in units; `burst` for the length of a burst."""

    level: float = 0.0
    burst: float = 0.0


class ThrottleState:
    """The buckets of one throttle group.

    :param config: the limits
    :param now: the clock's time, nanoseconds
    """

    def __init__(self, config: ThrottleConfig, now: int) -> None:
        self.config = config
        self._previous = now
        self._levels = {name: _Level() for name in BUCKETS}

    def configure(self, config: ThrottleConfig, now: int) -> None:
        """Follow other limits; the buckets are empty then."""
        self.config = config
        self._previous = now
        self._levels = {name: _Level() for name in BUCKETS}

    def wait(self, is_write: bool, now: int) -> int:
        """Nanoseconds until the next request of this direction may go, 0 for at once."""
        self._leak(now)
        buckets = self.config.buckets
        return max(_wait(buckets[name], self._levels[name]) for name in _FILLED[is_write])

    def account(self, is_write: bool, size: int) -> None:
        """A request of `size` bytes goes: fill the buckets."""
        op_size = self.config.op_size
        units = size / op_size if op_size and size > op_size else 1.0
        for name in _FILLED[is_write]:
            level, bucket = self._levels[name], self.config.buckets[name]
            amount = float(size) if name.startswith("bps") else units
            level.level += amount
            if bucket.burst_length > 1:
                level.burst += amount

    def _leak(self, now: int) -> None:
        passed, self._previous = now - self._previous, now
        if passed <= 0:
            return
        for name, bucket in self.config.buckets.items():
            level = self._levels[name]
            level.level = max(level.level - bucket.avg * passed / NANOSECONDS, 0.0)
            if bucket.burst_length > 1:
                level.burst = max(level.burst - bucket.max * passed / NANOSECONDS, 0.0)


def _wait(bucket: Bucket, level: _Level) -> int:
    if not bucket.avg:
        return 0
    # Short bursts are let through even where none are configured.
    brim = float(bucket.max * bucket.burst_length) if bucket.max else bucket.avg / 10
    burst_brim = bucket.max / 10
    extra = level.level - brim
    if extra > 0:
        return int(extra / bucket.avg * NANOSECONDS)
    if bucket.burst_length > 1:
        extra = level.burst - burst_brim
        if extra > 0:
            return int(extra / bucket.max * NANOSECONDS)
    return 0

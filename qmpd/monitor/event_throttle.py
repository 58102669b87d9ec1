"""Events on their way to the monitors, at most so often as QEMU sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.wire.rate_limit import RateLimiter

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.events import EventRecord


class EventThrottle:
    """Passes a machine's events on to all its monitors, within the limits of `RateLimiter`.

    :param clock: the time that the limits run on
    :param deliver: takes the events that pass
    """

    def __init__(self, clock: Clock, deliver: Callable[[EventRecord], None]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._limiter: RateLimiter[EventRecord] = RateLimiter()
        self._waiting = False

    def __call__(self, event: EventRecord) -> None:
        """Take an event from the machine's bus."""
        if self._limiter.offer(event, self._clock.now()):
            self._deliver(event)
        else:
            self._wait()

    def _wait(self) -> None:
        deadline = self._limiter.deadline()
        if deadline is not None and not self._waiting:
            self._clock.call_later(max(0, deadline - self._clock.now()), self._period_over)
            self._waiting = True

    def _period_over(self) -> None:
        self._waiting = False
        for event in self._limiter.expire(self._clock.now()):
            self._deliver(event)
        self._wait()

"""How fast nodes are: what a request of a job costs where somebody has said so.

Without it a request takes no time that could be measured, and a job without a speed is over
before anybody can look at it.  Requests of guests and exports are as quick as ever, those of
copy-before-write for a guest are a job's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_SECOND: Final = 1_000_000_000


@dataclass(slots=True)
class Pace:
    """The pace of a node.

    :param bytes_per_second: of its requests, one after the other; None: no limit
    :param latency: nanoseconds that each request takes besides; several wait at the same time
    """

    bytes_per_second: int | None
    latency: int
    _busy_until: int = 0

    def delay(self, now: int, length: int) -> int:
        """Nanoseconds that a request takes which begins now."""
        delay = self.latency
        if self.bytes_per_second is not None:
            begin = max(now, self._busy_until)
            self._busy_until = begin + length * _SECOND // self.bytes_per_second
            delay += self._busy_until - now
        return delay


class Paces:
    """The paces of a graph's nodes, by their names."""

    def __init__(self) -> None:
        self.by_name: dict[str, Pace] = {}

    def delay(self, names: Iterable[str], now: int, length: int) -> int:
        """Nanoseconds that a request takes which begins now.

        :param names: the nodes that it goes to, one below the other
        """
        paces = (self.by_name.get(name) for name in names)
        return max((pace.delay(now, length) for pace in paces if pace is not None), default=0)

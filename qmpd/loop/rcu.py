"""Freeing what others may still be reading, as QEMU's RCU thread does (``call_rcu_thread``).

The thread waits for a decent number of callbacks to pile up: it looks every ten milliseconds, and
after five looks it takes what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock

LOOK: Final = 10_000_000
"""Nanoseconds from one look of the thread to the next."""
LOOKS: Final = 5
"""How many times it looks before it takes fewer callbacks than `MANY`."""
MANY: Final = 30
"""Callbacks that it takes at once (RCU_CALL_MIN_SIZE)."""


class Rcu:
    """Callbacks that run when nobody can be reading any more what they free.

    :param clock: the machine's
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._callbacks: list[Callable[[], None]] = []
        self._count = 0
        self._looks = 0

    def call(self, callback: Callable[[], None], count: int = 1) -> None:
        """Run `callback` later (``call_rcu``).

        :param count: for how many callbacks of QEMU it stands
        """
        self._callbacks.append(callback)
        self._count += count
        if len(self._callbacks) == 1:
            self._looks = 0
            self._clock.call_later(LOOK, self._look)

    def _look(self) -> None:
        self._looks += 1
        if self._count < MANY and self._looks < self._clock.order.rcu_looks(LOOKS):
            self._clock.call_later(LOOK, self._look)
            return
        callbacks, self._callbacks, self._count = self._callbacks, [], 0
        for callback in callbacks:
            callback()

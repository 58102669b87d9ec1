"""Another order of events that QEMU might show, for each seed.

The main loop asks the schedule what QEMU leaves to chance (`qmpd.loop.order`): which request to a
file ends first and how many rounds it takes, when a client's request arrives, when the RCU thread
frees a device.  All else follows as it does in QEMU: which of two jobs moves first, whether a job
is at its pause point when the graph is locked, what is out before an answer, how far a job is.

Coins that are tossed anew for each question would nearly always show the same: two jobs that go
on side by side.  So a seed first chooses habits, and changes them from time to time: threads that
are fast or slow, the last request first or the first one, a client that is quick or sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from qmpd.base.override import override
from qmpd.loop.order import Order

_SPEEDS: Final = (1.0, 0.5, 0.2, 0.05, 0.02)
"""How likely a request is to end in a round of the loop."""
_DELAYS: Final = (0.0, 0.0, 0.5, 0.9, 0.97)
"""How likely a client's request is to be seen a round later."""
_STEPS: Final = (0, 0, 1, 4, 16, 64, None)
"""How much is done at most between an answer and the next request of a quick client."""
_LAST: Final = 1000
"""Rounds after which a request ends at the latest."""


class Schedule(Order):
    """The order of events of one seed.

    :param seed: the same seed and the same requests give the same order
    :raises ValueError: it is not a whole number
    """

    chooses = True

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ValueError(f"the seed of a schedule is a whole number, not {seed!r}")
        self.seed = seed
        self._random = Random(seed)
        self._left = 0
        self._waited = 0
        self._change_habits()

    def _change_habits(self) -> None:
        choose = self._random.choice
        self._left = choose((10, 40, 160))
        self._speed = choose(_SPEEDS)
        self._favourite = choose(("first", "last", "any"))
        self._early = choose((0.0, 0.0, 0.5))
        self._one_at_a_time = choose((False, True))
        self._delay = choose(_DELAYS)
        self._steps = choose(_STEPS)

    def _ask(self) -> Random:
        self._left -= 1
        if self._left < 0:
            self._change_habits()
        return self._random

    @override
    def completed(self, under_way: int) -> Sequence[int]:
        random = self._ask()
        numbers = list(range(under_way))
        if self._favourite == "last":
            numbers.reverse()
        elif self._favourite == "any":
            random.shuffle(numbers)
        if self._one_at_a_time:
            ended = numbers[:1] if random.random() < self._speed else []
        else:
            ended = [number for number in numbers if random.random() < self._speed]
        self._waited = 0 if ended else self._waited + 1
        return ended if self._waited < _LAST else numbers

    @override
    def completes_among_bottom_halves(self) -> bool:
        return self._ask().random() < self._early

    @override
    def request_waits(self) -> bool:
        return self._ask().random() < self._delay

    @override
    def request_among_bottom_halves(self) -> bool:
        return self._ask().random() < self._early

    @override
    def after_answer(self) -> int | None:
        random = self._ask()
        return None if self._steps is None else random.randint(0, self._steps)

    @override
    def rcu_looks(self, most: int) -> int:
        return self._ask().randint(1, most)

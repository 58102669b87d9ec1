"""Running a test under many orders of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any


class schedules:
    """Seeds of so many schedules, for ``qmpd.Machine(schedule=...)``.

    As an iterable, in a loop, or as a decorator of a test that takes a ``schedule``::

        for seed in qmpd.testing.schedules(50):
            with qmpd.Machine(disks={"d": "1M"}, schedule=seed) as vm: ...

        @qmpd.testing.schedules(50)
        def test_my_tool(schedule): ...

    An error that a test raises says in a note which seed it was.

    :param count: how many
    :param first: the first seed
    :raises ValueError: the number of schedules is not a whole number above 0
    """

    def __init__(self, count: int, first: int = 0) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"the number of schedules is a whole number above 0, not {count!r}")
        self._seeds = range(first, first + count)

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)

    def __call__(self, test: Callable[..., None]) -> Callable[..., None]:
        """Make of `test` one that runs under all schedules, one after the other."""

        @wraps(test)
        def run(*arguments: Any, **more: Any) -> None:
            for seed in self:
                try:
                    test(*arguments, **more, schedule=seed)
                except Exception as error:
                    error.add_note(f"under schedule={seed}")
                    raise

        # pytest must not take the parameter for a fixture
        del run.__wrapped__
        return run

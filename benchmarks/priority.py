"""Real-time priority, for figures that other programs on the machine would spoil."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_FIRST: Final = os.sched_param(1)


def raise_priority() -> None:
    """Let this process, and the threads it starts, come before all ordinary ones, if it may."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, _FIRST)


@contextmanager
def prioritized() -> Iterator[None]:
    """Inside the block this thread comes before all ordinary ones, if it may."""
    before, param = os.sched_getscheduler(0), os.sched_getparam(0)
    raise_priority()
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, before, param)

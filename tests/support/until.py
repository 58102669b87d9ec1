"""Waiting for what a process of its own does, and tells nobody."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Look again and again until `condition` holds.

    :raises AssertionError: it does not within so many seconds
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

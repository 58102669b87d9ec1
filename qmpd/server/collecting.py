"""The collector of cycles, kept from holding everybody up.

What Python's collector looks through now and then grows with what is alive: five thousand disks
take it a tenth of a second each time.  What it has just found to be in use is set aside here, where
that took long, so that it looks through the new things only.  What has been set aside and becomes
garbage later, in a cycle, is found when nobody has asked for anything for a while, or when there
may be much of it.
"""

from __future__ import annotations

import gc
import time
from typing import Final

LONG: Final = 3_000_000
"""Nanoseconds from which on a collection is long."""

MANY: Final = 500_000
"""Objects set aside that may be garbage before somebody has to wait for the collector."""


class Collecting:
    """Has the collector do so, from `begin` to `end`."""

    def __init__(self) -> None:
        self._began = 0
        self._kept = 0
        """Objects that were in use when all were looked through."""
        self._has_more = False
        self._has_begun = False

    def begin(self) -> None:
        """Watch the collector."""
        if not self._has_begun:
            self._has_begun = True
            self._kept = gc.get_freeze_count()
            gc.callbacks.append(self._seen)

    def end(self) -> None:
        """Leave it alone again."""
        if self._has_begun:
            self._has_begun = False
            gc.callbacks.remove(self._seen)

    def _seen(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = time.thread_time_ns()
        elif time.thread_time_ns() - self._began > LONG:
            gc.freeze()
            self._has_more = True

    def look(self, *, quiet: bool) -> None:
        """Look through all, if there may be garbage among what was set aside.

        :param quiet: whether nobody would have to wait for that
        """
        if not self._has_more:
            return
        if quiet or gc.get_freeze_count() > self._kept + MANY:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._kept = gc.get_freeze_count()
            self._has_more = False

"""How far a migration is, and what query-migrate tells of it."""

from __future__ import annotations

from typing import Final

from qmpd.loop.clock import NANOSECONDS

RUNNING: Final = frozenset(
    (
        "setup",
        "cancelling",
        "active",
        "postcopy-active",
        "postcopy-paused",
        "pre-switchover",
        "device",
    )
)
"""States in which a migration is under way (``migration_is_running``)."""

IN_POSTCOPY: Final = ("postcopy-active", "postcopy-paused")
_PAGE: Final = 4096
END_OF_MEMORY: Final = 8
"""Bytes that tell that there is no more memory."""


def milliseconds(nanoseconds: int) -> int:
    """A time as QEMU tells it."""
    return nanoseconds * 1000 // NANOSECONDS


class Progress:
    """What is counted of one migration; all times are the clock's, nanoseconds.

    :param now: when it was begun
    """

    def __init__(self, now: int) -> None:
        self.started = now
        self.setup_time = 0
        self.expected_downtime = 0
        self.stopped = now
        """When the guest was stopped."""
        self.downtime: int | None = None
        self.total_time = 0
        self.transferred = 0
        self.downtime_bytes = 0
        self.passes = 0
        self.mbps = 0.0

    def stood_still(self, now: int) -> None:
        """The guest runs again, or could."""
        if self.downtime is None:
            self.downtime = milliseconds(now - self.stopped)

    def end(self, now: int) -> None:
        """All has been sent."""
        self.stood_still(now)
        self.total_time = milliseconds(now - self.started)
        took = self.total_time - self.setup_time
        if took:
            self.mbps = self.transferred * 8.0 / took / 1000

    def info(self, state: str, now: int) -> dict[str, object]:
        """Times and statistics of MigrationInfo.

        :param state: how far it is
        """
        done = state == "completed"
        total = self.total_time if done else milliseconds(now - self.started)
        info: dict[str, object] = {"ram": self._ram(), "total-time": total}
        if done or state in IN_POSTCOPY:
            info["downtime"] = self.downtime or 0
        else:
            info["expected-downtime"] = self.expected_downtime
        info["setup-time"] = self.setup_time
        return info

    def _ram(self) -> dict[str, object]:
        """MigrationStats of a memory of size 0."""
        zeroes = dict.fromkeys(("remaining", "total", "duplicate", "normal", "normal-bytes"), 0)
        return {
            "transferred": self.transferred,
            **zeroes,
            "dirty-pages-rate": 0,
            "mbps": self.mbps,
            "dirty-sync-count": self.passes,
            "postcopy-requests": 0,
            "page-size": _PAGE,
            "multifd-bytes": 0,
            "pages-per-second": 0,
            "precopy-bytes": 0,
            "downtime-bytes": self.downtime_bytes,
            "postcopy-bytes": 0,
            "dirty-sync-missed-zero-copy": 0,
        }

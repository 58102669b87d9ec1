"""Counters of I/O (QEMU's BlockAcctStats)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from qmpd.block.io.latency import HISTOGRAMS, LatencyHistogram
from qmpd.block.io.timed_average import TimedStats
from qmpd.errors import GenericError

KINDS: Final = ("rd", "wr", "zone_append", "flush", "unmap")
"""Kinds of requests that are counted."""

HARNESS_LATENCY: Final = 1_000_000
"""Nanoseconds that every request is said to take where a harness steps the guest's clock."""

COUNTERS: Final = (
    "rd_bytes wr_bytes zone_append_bytes unmap_bytes rd_operations wr_operations"
    " zone_append_operations flush_operations unmap_operations rd_total_time_ns"
    " wr_total_time_ns zone_append_total_time_ns flush_total_time_ns unmap_total_time_ns"
    " wr_highest_offset rd_merged wr_merged zone_append_merged unmap_merged"
).split()
FAILURES: Final = [f"{how}_{kind}_operations" for how in ("failed", "invalid") for kind in KINDS]


class BlockAcctStats:
    """The counters of one backend.

    :param now: its clock, nanoseconds
    :param latency: how long every request is said to take, nanoseconds; None for what it took
    """

    def __init__(self, now: Callable[[], int], latency: int | None = None) -> None:
        self._now = now
        self._latency = latency
        self._last_access = 0
        self.account_invalid = True
        self.account_failed = True
        self.histograms: dict[str, LatencyHistogram] = {}
        """By kind of request, where they are collected."""
        self.intervals: list[TimedStats] = []
        """What is told of the last few seconds, of each interval asked for."""
        self.counters: dict[str, int] = dict.fromkeys([*COUNTERS, *FAILURES], 0)

    def done(self, kind: str, length: int, duration: int) -> None:
        """A request succeeded; bytes and nanoseconds."""
        if kind != "flush":
            self.counters[f"{kind}_bytes"] += length
        self.counters[f"{kind}_operations"] += 1
        self._timed(kind, duration, counts=True)

    def _timed(self, kind: str, duration: int, *, counts: bool) -> None:
        if self._latency is not None:
            duration = self._latency
        histogram = self.histograms.get(kind)
        if histogram is not None:
            histogram.account(duration)
        if counts:
            self.counters[f"{kind}_total_time_ns"] += duration
            self._last_access = self._now()
            for interval in self.intervals:
                interval.account(kind, duration)

    def failed(self, kind: str, duration: int) -> None:
        """A request failed: histograms count it even where failures do not."""
        self.counters[f"failed_{kind}_operations"] += 1
        self._timed(kind, duration, counts=self.account_failed)

    def invalid(self, kind: str) -> None:
        """A request was malformed."""
        self.counters[f"invalid_{kind}_operations"] += 1
        if self.account_invalid:
            self._last_access = self._now()

    def add_interval(self, seconds: int) -> None:
        """Tell of the last `seconds` too."""
        self.intervals.append(TimedStats(seconds, self._now))

    def info(self) -> dict[str, Any]:
        """BlockDeviceStats, without what the node adds."""
        members: dict[str, Any] = {name: self.counters[name] for name in COUNTERS}
        if self._last_access:
            members["idle_time_ns"] = self._now() - self._last_access
        members |= {name: self.counters[name] for name in FAILURES}
        members["account_invalid"] = self.account_invalid
        members["account_failed"] = self.account_failed
        members["timed_stats"] = [interval.info() for interval in self.intervals]
        for kind, histogram in self.histograms.items():
            members[f"{kind}_latency_histogram"] = histogram.info()
        return members


def set_histograms(stats: BlockAcctStats, arguments: Mapping[str, Any]) -> None:
    """Command block-latency-histogram-set; without boundaries nothing is collected any more.

    :param arguments: as they came
    :raises GenericError: boundaries do not rise; those set before it are kept
    """
    if not any(name.startswith("boundaries") for name in arguments):
        stats.histograms.clear()
        return
    common = arguments.get("boundaries")
    for kind, argument, what in HISTOGRAMS:
        boundaries = arguments.get(argument, common)
        if boundaries is None:
            continue
        try:
            stats.histograms[kind] = LatencyHistogram(boundaries)
        except ValueError:
            raise GenericError(f"Device '{arguments['id']}' set {what} boundaries fail") from None

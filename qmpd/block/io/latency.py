"""Histograms of how long requests take (block-latency-histogram-set)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

HISTOGRAMS: Final = (
    ("rd", "boundaries-read", "read"),
    ("wr", "boundaries-write", "write"),
    ("zone_append", "boundaries-zap", "append write"),
    ("flush", "boundaries-flush", "flush"),
)
"""Kind of request, the argument with its own boundaries, and what messages call it."""


class LatencyHistogram:
    """Counts of requests between boundaries.

    :param boundaries: nanoseconds, each greater than the one before
    :raises ValueError: they are not
    """

    def __init__(self, boundaries: Sequence[int]) -> None:
        before = 0
        for boundary in boundaries:
            if boundary <= before:
                raise ValueError(boundary)
            before = boundary
        self.boundaries = list(boundaries)
        self.bins = [0] * (len(boundaries) + 1)

    def account(self, duration: int) -> None:
        """A request took `duration` nanoseconds."""
        self.bins[bisect_right(self.boundaries, duration)] += 1

    def info(self) -> dict[str, Any]:
        """BlockLatencyHistogramInfo."""
        return {"boundaries": self.boundaries, "bins": self.bins}

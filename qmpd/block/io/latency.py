"""Histograms of how long requests take (block-latency-histogram-set)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.io.stats import BlockAcctStats

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

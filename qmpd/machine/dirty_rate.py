"""How much a guest writes to its memory: measured, as QEMU does; a guest of qmpd writes nothing.

Sampled pages of a machine without memory tell nothing, which QEMU says by a rate of -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.loop.clock import NANOSECONDS

if TYPE_CHECKING:
    from qmpd.loop.clocks import Clocks

SAMPLING: Final = "page-sampling"
BITMAP: Final = "dirty-bitmap"
RING: Final = "dirty-ring"

_MILLISECOND: Final = NANOSECONDS // 1000
_MILLISECONDS: Final = {"second": 1000, "millisecond": 1}
_RANGE: Final = (50, 60000)
_SECONDS: Final = (1, 60)
_PAGES: Final = (128, 16384)
_USUAL_PAGES: Final = 512


@dataclass
class _Measured:
    """One measurement; times are in milliseconds, but for the start, in seconds."""

    mode: str = SAMPLING
    status: str = "unstarted"
    start: int = 0
    time: int = 0
    pages: int = 0
    rate: int = -1


def _wrapped(number: int) -> int:
    """What is left of a product in an ``int64_t``."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class DirtyRate:
    """The last measurement of one machine.

    :param clocks: its time
    :param memory: bytes of memory that it passes for having
    """

    def __init__(self, clocks: Clocks, memory: int) -> None:
        self._clocks = clocks
        self._memory = memory
        self._last = _Measured()

    def begin(self, time: int, unit: str | None, pages: int | None, mode: str) -> None:
        """Command calc-dirty-rate.

        :param time: how long it takes, in `unit`
        :param unit: None where there are only seconds, and these are what must be in a range
        :param pages: how many pages of a GiB are sampled; None for the usual number
        :raises GenericError: one is under way, or these do not go together
        """
        if self._last.status == "measuring":
            raise GenericError("the dirty rate is already being measured.")
        if unit is None and not _SECONDS[0] <= time <= _SECONDS[1]:
            raise GenericError(f"calc-time is out of range[{_SECONDS[0]}, {_SECONDS[1]}].")
        milliseconds = _wrapped(time * _MILLISECONDS[unit or "second"])
        if not _RANGE[0] <= milliseconds <= _RANGE[1]:
            raise GenericError(f"Calculation time is out of range [{_RANGE[0]}ms, {_RANGE[1]}ms].")
        if pages is not None and mode != SAMPLING:
            raise GenericError("sample-pages is used only in page-sampling mode")
        if pages is not None and not _PAGES[0] <= pages <= _PAGES[1]:
            raise GenericError(f"sample-pages is out of range[{_PAGES[0]}, {_PAGES[1]}].")
        if mode == RING:
            raise GenericError(f"mode {mode} is not enabled, use other method instead.")
        clock = self._clocks.realtime
        start = self._clocks.host() // NANOSECONDS
        pages = _USUAL_PAGES if pages is None else pages
        self._last = measured = _Measured(mode, "measuring", start, milliseconds, pages)
        if mode == SAMPLING and not self._memory:
            measured.status = "measured"
            return
        began = clock.now()

        def end() -> None:
            measured.status, measured.rate = "measured", 0
            measured.time = (clock.now() - began) // _MILLISECOND

        clock.call_later(milliseconds * _MILLISECOND, end)

    def query(self, unit: str) -> dict[str, Any]:
        """Command query-dirty-rate.

        :param unit: of the time that the measurement takes
        """
        last = self._last
        done = last.status == "measured"
        return {
            **({"dirty-rate": last.rate} if done else {}),
            "status": last.status,
            "start-time": last.start,
            "calc-time": last.time // _MILLISECONDS[unit],
            "calc-time-unit": unit,
            "sample-pages": 0 if done and last.mode == BITMAP else last.pages,
            "mode": last.mode,
        }

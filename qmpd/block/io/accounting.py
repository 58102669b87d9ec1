"""What a block backend counts of its requests."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.block.io.stats import HARNESS_LATENCY, BlockAcctStats
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.loop.clocks import Clocks

T = TypeVar("T")


class Accounting:
    """The statistics of a backend, as query-blockstats shows them.

    A request's kind is rd, wr, flush or unmap; its duration is in nanoseconds.
    """

    def __init__(self, clocks: Clocks) -> None:
        self._now = clocks.realtime.now
        self.stats = BlockAcctStats(
            clocks.accounting.now, None if clocks.harness is None else HARNESS_LATENCY
        )

    async def counted(self, kind: str, length: int, request: Coroutine[Any, Any, T]) -> T:
        """Run `request` as a device does: its bytes, time or failure are counted."""
        began = self._now()
        try:
            result = await request
        except BlockIOError:
            self.account_failed(kind, self._now() - began)
            raise
        self.account_done(kind, length, self._now() - began)
        return result

    def account_done(self, kind: str, length: int, duration: int) -> None:
        """Count a request that succeeded."""
        self.stats.done(kind, length, duration)

    def account_failed(self, kind: str, duration: int) -> None:
        """Count a request that failed."""
        self.stats.failed(kind, duration)

    def account_invalid(self, kind: str) -> None:
        """Count a request that was malformed."""
        self.stats.invalid(kind)

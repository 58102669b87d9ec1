"""The clock of the guest (QEMU's QEMU_CLOCK_VIRTUAL), which snapshots tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock


class GuestClock:
    """Goes while the guest runs; at first it does not.

    :param clock: the machine's
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before = 0
        self._since: int | None = None

    def now(self) -> int:
        """Nanoseconds the guest has run."""
        return self._before + (0 if self._since is None else self._clock.now() - self._since)

    def go(self) -> None:
        """The guest runs."""
        if self._since is None:
            self._since = self._clock.now()

    def stand_still(self) -> None:
        """The guest does not run."""
        self._before = self.now()
        self._since = None

    def set(self, nanoseconds: int) -> None:
        """Let the guest have run for so long."""
        self._before = nanoseconds
        if self._since is not None:
            self._since = self._clock.now()


class SteppedGuestClock(GuestClock):
    """Moves only when a harness steps it, whether the guest runs or not."""

    def now(self) -> int:
        """The harness's nanoseconds."""
        return self._clock.now()


class NoGuestClock(GuestClock):
    """Where there is no guest, it is the time of the day."""

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return self._clock.date()

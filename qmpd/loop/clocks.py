"""The clocks of one machine, as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from qmpd.loop.guest_clock import GuestClock, NoGuestClock, SteppedGuestClock

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock, VirtualClock


@dataclass(frozen=True, slots=True)
class Clocks:
    """What QEMU calls QEMU_CLOCK_HOST, QEMU_CLOCK_REALTIME and QEMU_CLOCK_VIRTUAL.

    All times are in nanoseconds.  Made by whoever makes the machine, usually with `of`.
    """

    host: Callable[[], int]
    """The time of day, since 1970."""
    realtime: Clock
    """Time that goes on whatever the guest does."""
    virtual: GuestClock
    """The guest's time: it stands still while the guest is stopped."""
    harness: VirtualClock | None = None
    """The clock that a test harness steps (``-accel qtest``), None without one."""

    @classmethod
    def of(
        cls, clock: Clock, *, harness: VirtualClock | None = None, has_guest: bool = True
    ) -> Self:
        """The clocks of a machine whose time is told by `clock`.

        :param harness: what steps the guest's time, see `harness`
        :param has_guest: the storage daemon has none: its virtual time is the time of day
        """
        if not has_guest:
            virtual: GuestClock = NoGuestClock(clock)
        elif harness is None:
            virtual = GuestClock(clock)
        else:
            virtual = SteppedGuestClock(harness)
        return cls(clock.date, clock, virtual, harness)

    @property
    def accounting(self) -> Clock:
        """What limits, statistics and the rate of events follow.

        That is the harness's clock where there is one, else real time, as in QEMU's
        ``block_acct_init``, ``throttle_timers_init`` and ``monitor_get_event_clock``.
        """
        return self.realtime if self.harness is None else self.harness

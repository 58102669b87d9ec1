"""What is done about events of the guest, and what a guest answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device


WatchdogAction = Literal["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"]
"""What is done when a watchdog expires."""


@dataclass(slots=True)
class Actions:
    """What is done about events of the guest (``-action``)."""

    reboot: Literal["reset", "shutdown"] = "reset"
    shutdown: Literal["poweroff", "pause"] = "poweroff"
    panic: Literal["pause", "shutdown", "exit-failure", "none"] = "shutdown"
    watchdog: Literal["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"] = (
        "reset"
    )
    """Of a watchdog that expires: the guest that would let it is not there, as with ``-S``."""


class GuestAnswers(Protocol):
    """A guest that answers what the machine asks it."""

    def powerdown_requested(self) -> None:
        """The power button has been pressed."""

    def unplug_requested(self, device: Device) -> None:
        """A device is to be unplugged; the guest may let go of it."""

"""The guest: what it does by itself, and what it answers when the machine asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

from qmpd.errors import GenericError
from qmpd.loop.clock import NANOSECONDS
from qmpd.machine import power
from qmpd.sim.faults.words import one_of

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.events import EventRecord
    from qmpd.machine.devices.device import Device
    from qmpd.machine.machine import Machine

PowerdownAnswer = Literal["ignore", "shutdown"]
"""What a guest does when the power button is pressed."""

UnplugAnswer = Literal["ignore", "eject", "refuse"]
"""What it does when a device is to be unplugged."""

ACTIONS: Final = {
    "reboot": ("reset", "shutdown"),
    "shutdown": ("poweroff", "pause"),
    "panic": ("pause", "shutdown", "exit-failure", "none"),
}
"""What may be done about what a guest does (``-action``)."""


class Place(Protocol):
    """A bench; see `qmpd.sim.bench.Bench`."""

    @property
    def clock(self) -> Clock:
        """What runs the machine that is there now."""

    def open_machine(self) -> Machine:
        """The machine that is there now; raises `qmpd.errors.MachineClosed` if it has ended."""

    def note(self, kind: Literal["guest"], *, monitor: str | None = None, **data: Any) -> None:
        """Note in the journal what the guest does."""


@dataclass(frozen=True, slots=True)
class _Unplug:
    """How requests to unplug devices are answered.

    :param device: name or pattern of the devices' ids
    :param delay: nanoseconds until the answer
    """

    answer: str
    device: str
    delay: int


class Guest:
    """The guest of the machine on a bench; one in its place has the same guest.

    As QEMU without a system inside, it answers nothing until it is told to.  A guest that is
    stopped does nothing: what it is to do or to answer waits for ``cont``.
    """

    def __init__(self, bench: Place) -> None:
        self._bench = bench
        self._powerdown: tuple[str, int] = ("ignore", 0)
        self._unplugs: list[_Unplug] = []
        self._actions: dict[str, str] = {}
        self.follow()

    def follow(self) -> None:
        """Be the guest of the machine that there is now."""
        machine = self._bench.open_machine()
        machine.guest = self
        for name, word in self._actions.items():
            setattr(machine.actions, name, word)

    # What it does by itself

    async def shut_down(self) -> None:
        """Power the machine off: SHUTDOWN, reason guest-shutdown.

        :raises GenericError: the guest does not run
        """
        machine = self._running("shutdown")
        await power.shut_down(machine, "guest-shutdown")

    async def reboot(self) -> None:
        """Reset the machine: RESET, reason guest-reset.

        :raises GenericError: the guest does not run
        """
        machine = self._running("reboot")
        await power.reset(machine, "guest-reset")

    async def panic(self) -> None:
        """Crash: GUEST_PANICKED, and what is to follow.

        :raises GenericError: the guest does not run
        """
        machine = self._running("panic")
        await power.panic(machine)

    def _running(self, operation: str) -> Machine:
        machine = self._bench.open_machine()
        if not machine.running:
            state = machine.run_state.value
            raise GenericError(f"The guest does not run: its state is '{state}'")
        self._bench.note("guest", operation=operation)
        return machine

    def set_actions(self, **actions: str | None) -> None:
        """Say what is done about it, as ``-action`` does (``-no-reboot``, ``-no-shutdown``).

        :param actions: of `ACTIONS`; None for those that stay as they are
        :raises ValueError: there is no such action
        """
        chosen = {name: word for name, word in actions.items() if word is not None}
        for name, word in chosen.items():
            one_of(f"{name} action", word, ACTIONS[name])
        self._actions.update(chosen)
        self.follow()

    # What it answers

    def on_powerdown(self, answer: str, delay: float = 0.0) -> None:
        """Say what it does when the power button is pressed.

        :param answer: one of `PowerdownAnswer`
        :param delay: seconds of the machine's clock until it does
        :raises ValueError: there is no such answer, or the delay is negative
        """
        one_of("answer", answer, get_args(PowerdownAnswer))
        self._powerdown = (answer, _delay(delay))

    def on_unplug(self, answer: str, device: str = "*", delay: float = 0.0) -> None:
        """Say what it does when it is asked to let go of a device; the last that fits counts.

        :param answer: one of `UnplugAnswer`
        :param device: id, or pattern, of the devices
        :param delay: seconds of the machine's clock until it does
        :raises ValueError: there is no such answer, or the delay is negative
        """
        one_of("answer", answer, get_args(UnplugAnswer))
        self._unplugs.append(_Unplug(answer, device, _delay(delay)))

    def powerdown_requested(self) -> None:
        """See `qmpd.machine.machine.GuestAnswers.powerdown_requested`."""
        answer, delay = self._powerdown
        if answer == "shutdown":
            self._later(delay, self._bench.open_machine(), self._shut_down)

    def unplug_requested(self, device: Device) -> None:
        """See `qmpd.machine.machine.GuestAnswers.unplug_requested`."""
        name = device.id or ""
        fits = [rule for rule in self._unplugs if fnmatchcase(name, rule.device)]
        if fits and fits[-1].answer != "ignore":
            answer = self._eject if fits[-1].answer == "eject" else self._refuse
            machine = self._bench.open_machine()
            self._later(fits[-1].delay, machine, lambda: answer(machine, device))

    def _later(self, delay: int, machine: Machine, action: Callable[[], None]) -> None:
        """Do something after a time, once the guest runs."""

        def try_it() -> None:
            if machine.shutdown_reason is not None:
                return
            if machine.running:
                action()
                return

            def see(event: EventRecord) -> None:
                if event.name == "RESUME":
                    stop()
                    machine.clock.call_soon(try_it)

            stop = machine.events.subscribe(see)

        machine.clock.call_later(delay, try_it)

    def _shut_down(self) -> None:
        machine = self._running("shutdown")
        machine.clock.enter(power.shut_down(machine, "guest-shutdown"), "the guest's shutdown")

    def _eject(self, machine: Machine, device: Device) -> None:
        """The guest lets go of a device: DEVICE_DELETED, unless a reset was quicker."""
        if device.unplugging and machine.devices.has(device):
            self._bench.note("guest", operation="eject", device=device.id)
            machine.clock.enter(machine.devices.unplug(device), "the guest's eject")

    def _refuse(self, machine: Machine, device: Device) -> None:
        """The guest keeps a device: DEVICE_UNPLUG_GUEST_ERROR, and it may be asked again."""
        if device.unplugging and machine.devices.has(device):
            self._bench.note("guest", operation="refuse", device=device.id)
            device.unplugging = False
            data = {} if device.id is None else {"device": device.id}
            machine.events.emit("DEVICE_UNPLUG_GUEST_ERROR", {**data, "path": device.path})


def _delay(seconds: float) -> int:
    if seconds < 0:
        raise ValueError(f"a delay is not to be negative, as {seconds} is")
    return round(seconds * NANOSECONDS)

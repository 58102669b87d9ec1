"""`Machine.guest` and the workloads of disks; see `qmpd.sim.guests`, which does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.sim.guests.workload import Workload as SimWorkload
from qmpd.sim.guests.workload import Write

if TYPE_CHECKING:
    from qmpd.api.drivers import Driven
    from qmpd.sim.guests.guest import Guest as SimGuest
    from qmpd.sim.guests.guest import PowerdownAnswer, UnplugAnswer


class Guest:
    """The guest of a machine: what it does, and what it answers.

    >>> import qmpd
    >>> with qmpd.Machine() as vm:
    ...     vm.guest.on_powerdown("shutdown", delay=5)
    ...     _ = vm.cmd("system_powerdown")
    ...     vm.event_wait("SHUTDOWN")["data"]
    {'guest': True, 'reason': 'guest-shutdown'}

    As in QEMU without a system inside, nothing is answered until somebody says so.  A guest that
    is stopped answers when it goes on.
    """

    def __init__(self, machine: Driven) -> None:
        self._machine = machine

    @property
    def _guest(self) -> SimGuest:
        return self._machine._core.bench.guest

    def shutdown(self) -> None:
        """Power the machine off: SHUTDOWN, and the machine ends.

        :raises qmpd.errors.GenericError: the guest does not run
        """
        self._machine._driver.run(self._guest.shut_down(), "the guest's shutdown")

    def reboot(self) -> None:
        """Reset the machine from inside: RESET.

        :raises qmpd.errors.GenericError: the guest does not run
        """
        self._machine._driver.run(self._guest.reboot(), "the guest's reboot")

    def panic(self) -> None:
        """Crash: GUEST_PANICKED, then SHUTDOWN, and the machine ends.

        :raises qmpd.errors.GenericError: the guest does not run
        """
        self._machine._driver.run(self._guest.panic(), "the guest's panic")

    def actions(
        self, *, reboot: str | None = None, shutdown: str | None = None, panic: str | None = None
    ) -> None:
        """Say what is done about it, as ``-action`` does.

        :param reboot: ``"reset"``, or ``"shutdown"`` (``-no-reboot``)
        :param shutdown: ``"poweroff"``, or ``"pause"`` (``-no-shutdown``)
        :param panic: ``"shutdown"``, ``"pause"``, ``"exit-failure"`` or ``"none"``
        :raises ValueError: there is no such action
        """
        set_actions = self._guest.set_actions
        self._machine._driver.call(
            lambda: set_actions(reboot=reboot, shutdown=shutdown, panic=panic)
        )

    def on_powerdown(self, answer: PowerdownAnswer, *, delay: float = 0.0) -> None:
        """Say what the guest does when somebody says ``system_powerdown``.

        :param answer: ``"ignore"`` or ``"shutdown"``
        :param delay: seconds of the machine's clock until it does
        :raises ValueError: there is no such answer, or the delay is negative
        """
        self._machine._driver.call(lambda: self._guest.on_powerdown(answer, delay))

    def on_unplug(self, answer: UnplugAnswer, *, device: str = "*", delay: float = 0.0) -> None:
        """Say what the guest does when ``device_del`` asks it to let go of a PCI device.

        :param answer: ``"ignore"``; ``"eject"``: DEVICE_DELETED; ``"refuse"``:
            DEVICE_UNPLUG_GUEST_ERROR, and the device stays
        :param device: id, or pattern, of the devices; the last call that fits a device counts
        :param delay: seconds of the machine's clock until it does
        :raises ValueError: there is no such answer, or the delay is negative
        """
        self._machine._driver.call(lambda: self._guest.on_unplug(answer, device, delay))


class Workload:
    """Writes of a guest in the background: see `Disk.workload`."""

    def __init__(self, machine: Driven, workload: SimWorkload) -> None:
        self._machine = machine
        self._workload = workload

    @property
    def done(self) -> bool:
        """Whether it has ended: all is written, it was stopped, or the machine has ended."""
        return self._workload.done

    @property
    def writes(self) -> list[Write]:
        """What it has written so far, in its order."""
        return self._machine._driver.call(lambda: list(self._workload.writes))

    @property
    def blocks(self) -> dict[int, bytes]:
        """What is on the disk because of it: bytes by their offsets."""
        return self._machine._driver.call(lambda: dict(self._workload.blocks))

    def stop(self) -> None:
        """Write no more."""
        self._machine._driver.call(self._workload.stop)

    def wait(self) -> None:
        """Wait until it has ended.

        :raises qmpd.errors.WaitsForever: the clock is held
        """
        self._machine._driver.run(self._workload.wait(), f"the workload of {self._workload.disk}")

    def check(self, disk: str | None = None) -> None:
        """Check that a disk has what was written.

        :param disk: another one that must have it too, a backup's target for instance
        :raises AssertionError: it has something else somewhere
        """
        self._machine._driver.run(self._workload.check(disk), "a check of what was written")

"""The guest of a machine on an event loop, and the workloads of its disks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from qmpd.sim.guests.workload import Workload as SimWorkload
from qmpd.sim.guests.workload import Write

if TYPE_CHECKING:
    from qmpd.sim.bench import Bench
    from qmpd.sim.guests.guest import PowerdownAnswer, UnplugAnswer

Run = Callable[[Any, str], Awaitable[Any]]
"""Runs a coroutine of the machine's."""


class Guest:
    """The guest of a machine: see `qmpd.api.guests.Guest`."""

    def __init__(self, run: Run, bench: Bench) -> None:
        self._run = run
        self._bench = bench

    async def shutdown(self) -> None:
        """Power the machine off."""
        await self._run(self._bench.guest.shut_down(), "the guest's shutdown")

    async def reboot(self) -> None:
        """Reset the machine from inside."""
        await self._run(self._bench.guest.reboot(), "the guest's reboot")

    async def panic(self) -> None:
        """Crash."""
        await self._run(self._bench.guest.panic(), "the guest's panic")

    def actions(
        self, *, reboot: str | None = None, shutdown: str | None = None, panic: str | None = None
    ) -> None:
        """Say what is done about it, as ``-action`` does."""
        self._bench.guest.set_actions(reboot=reboot, shutdown=shutdown, panic=panic)

    def on_powerdown(self, answer: PowerdownAnswer, *, delay: float = 0.0) -> None:
        """Say what the guest does when somebody says ``system_powerdown``."""
        self._bench.guest.on_powerdown(answer, delay)

    def on_unplug(self, answer: UnplugAnswer, *, device: str = "*", delay: float = 0.0) -> None:
        """Say what the guest does when ``device_del`` asks it to let go of a PCI device."""
        self._bench.guest.on_unplug(answer, device, delay)


class Workload:
    """Writes of a guest in the background: see `qmpd.api.guests.Workload`."""

    def __init__(self, run: Run, workload: SimWorkload) -> None:
        self._run = run
        self._workload = workload

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._workload.done

    @property
    def writes(self) -> list[Write]:
        """What it has written so far, in its order."""
        return list(self._workload.writes)

    @property
    def blocks(self) -> dict[int, bytes]:
        """What is on the disk because of it: bytes by their offsets."""
        return dict(self._workload.blocks)

    def stop(self) -> None:
        """Write no more."""
        self._workload.stop()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._run(self._workload.wait(), "a workload")

    async def check(self, disk: str | None = None) -> None:
        """Check that a disk has what was written.

        :raises AssertionError: it has something else somewhere
        """
        await self._run(self._workload.check(disk), "a check of what was written")

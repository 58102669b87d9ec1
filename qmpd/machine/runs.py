"""The run state of a machine: how its guest runs, stops, and is reset (system/runstate.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from qmpd.base.run_state import RunState
from qmpd.errors import GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.services import Services
    from qmpd.loop.clock import Clock
    from qmpd.loop.events import EventBus
    from qmpd.machine.complaints import Complaints
    from qmpd.machine.devices.tree import DeviceTree
    from qmpd.machine.parts import Parts

_KEPT_BY_RESET: Final = (RunState.RUNNING, RunState.INMIGRATE, RunState.FINISH_MIGRATE)
"""Run states that a reset does not change; after all others it is prelaunch."""


class Runs:
    """A guest that runs or does not."""

    services: Services
    clock: Clock
    events: EventBus
    complaints: Complaints
    in_preconfig: bool
    autostart: bool

    @property
    def parts(self) -> Parts:
        """What the machine is made of."""
        raise NotImplementedError

    @property
    def devices(self) -> DeviceTree:
        """Its devices."""
        raise NotImplementedError

    @property
    def run_state(self) -> RunState:
        """What the guest does; its clock goes while it runs."""
        return self._run_state

    @run_state.setter
    def run_state(self, state: RunState) -> None:
        self._run_state = state
        if "parts" in self.__dict__:
            self.parts.graph.incoming = state is RunState.INMIGRATE
        if state is RunState.RUNNING:
            self.services.clocks.virtual.go()
        else:
            self.services.clocks.virtual.stand_still()

    @property
    def running(self) -> bool:
        """Whether the guest's CPUs run."""
        return self.run_state is RunState.RUNNING

    async def stop(self) -> None:
        """Command stop: pause a running guest, or keep one from starting by itself."""
        self.autostart = False
        if self.run_state is not RunState.INMIGRATE:
            await self.stop_for(RunState.PAUSED)

    async def cont(self) -> None:
        """Command cont: take all images back, and let a stopped guest run (``qmp_cont``).

        :raises QmpError: an image cannot be taken back
        """
        if self.run_state is RunState.SHUTDOWN:
            raise GenericError("Resetting the Virtual Machine is required")
        if self.run_state is RunState.FINISH_MIGRATE:
            raise GenericError("Migration is not finalized yet")
        self.parts.forget_io_errors()
        self.parts.forget_job_errors()
        if self.run_state is RunState.INMIGRATE:
            self.autostart = True
            return
        try:
            await self.parts.set_active(True)
        except QmpError as error:
            self.complaints.hear(error.report.rstrip("\n"))
            raise
        self.start()

    def start(self) -> None:
        """Let a stopped guest run (``vm_start``)."""
        if not self.running:
            self._run()

    def _run(self) -> None:
        self.run_state = RunState.RUNNING
        self.events.emit("RESUME")
        self.parts.guest_started()
        self.parts.resume_devices()

    async def stop_for(self, state: RunState) -> None:
        """Stop the guest, and drain and flush its disks (``vm_stop``).

        :param state: the run state, if it was running
        """
        if self.running:
            self.run_state = state
            self.events.emit("STOP")
        await self.parts.flush_disks()

    async def force_stop(self, state: RunState) -> None:
        """Be in `state`, whether the guest ran or not (``vm_stop_force_state``).

        :raises BlockIOError: a disk's data cannot be written
        """
        if self.running:
            self.run_state = state
            self.events.emit("STOP")
        self.run_state = state
        await self.parts.flush_disks(strict=True)

    def go_on(self, state: RunState) -> None:
        """Return to `state` after `stop_for` (``vm_resume``)."""
        if state is not RunState.RUNNING:
            self.run_state = state
        elif not self.running:
            self._run()

    def stop_for_io_error(self) -> None:
        """Pause the guest until `cont` because of an I/O error."""
        if self.running:
            self.run_state = RunState.IO_ERROR
            self.events.emit("STOP")

    async def reset(self, reason: str) -> None:
        """Reset the guest; if it is stopped, its run state becomes prelaunch."""
        await self.devices.reset()
        self.parts.drop_requests()
        self.events.emit("RESET", {"guest": reason.startswith("guest-"), "reason": reason})
        if self.run_state not in _KEPT_BY_RESET:
            self.run_state = RunState.PRELAUNCH

    def exit_preconfig(self) -> None:
        """Leave ``--preconfig``: the machine is built and, unless held, runs.

        :raises GenericError: when it has been left already
        """
        if not self.in_preconfig:
            raise GenericError("The command is permitted only before machine initialization")
        self.in_preconfig = False
        if self.run_state is RunState.PRECONFIG:
            # the answer is a round of the loop away, and comes before this bottom half
            self.run_state = RunState.PRELAUNCH
            self.clock.call_soon(partial(self.clock.schedule_bh, self._start_by_itself))
        else:
            self._start_by_itself()

    def _start_by_itself(self) -> None:
        if self.autostart and self.run_state is not RunState.INMIGRATE:
            self.start()

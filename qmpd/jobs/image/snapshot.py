"""snapshot-save, snapshot-load, snapshot-delete: internal snapshots of several disks, as jobs.

QEMU saves the guest's memory and devices in such a snapshot.  A machine of qmpd has neither: of
its state only the time of the clock is saved, and the VM state has size 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from qmpd.base.override import override
from qmpd.base.run_state import RunState
from qmpd.block.change.drain import drained
from qmpd.block.io.disk_snapshots import SnapshotGroup, find_snapshot, snapshot_holder
from qmpd.errors import GenericError
from qmpd.jobs.core.job import Job
from qmpd.loop.clock import NANOSECONDS

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.jobs.core.protocols import Listing


class Guest(Protocol):
    """The guest that the disks belong to."""

    @property
    def graph(self) -> Graph:
        """Its block graph."""

    @property
    def jobs(self) -> Listing:
        """Its jobs."""

    @property
    def run_state(self) -> RunState:
        """What it does."""

    def unmigratable(self) -> list[str]:
        """Its devices whose state cannot be saved."""

    async def stop_for(self, state: RunState) -> None:
        """Stop it, in `state` if it runs, after its writes are done and flushed (vm_stop)."""

    def go_on(self, state: RunState) -> None:
        """Put it into `state` again."""

    def restart(self) -> None:
        """Reset its devices without an event."""


class SnapshotJob(Job):
    """Base of the three jobs; must be dismissed.

    :param tag: name of the snapshot
    :param devices: names of the nodes that take part
    :param vmstate: name of the node for the guest's state; none for snapshot-delete
    :raises GenericError: the id is malformed or in use
    """

    def __init__(
        self,
        guest: Guest,
        job_id: str,
        tag: str,
        devices: Sequence[str],
        vmstate: str = "",
    ) -> None:
        super().__init__(guest.jobs, job_id, auto_dismiss=False)
        self.guest = guest
        self.graph = guest.graph
        self.tag = tag
        self.group = SnapshotGroup(self.graph, devices)
        self.vmstate = vmstate

    @override
    async def run(self) -> None:
        """Do the work; progress has one step, even if it fails."""
        self.progress.total = 1
        # The work is a bottom half (``snapshot_save_job_bh`` and the like).
        await self.table.clock.in_bottom_half(self._bottom_half(), f"job {self.id}")

    async def _bottom_half(self) -> None:
        try:
            with self.table.clock.nested_loop():
                await self.work()
        finally:
            self.progress.current = 1

    async def work(self) -> None:
        """Do the one step.

        :raises QmpError: it failed
        """
        raise NotImplementedError


class SnapshotSave(SnapshotJob):
    """snapshot-save."""

    job_type: ClassVar[str] = "snapshot-save"

    @override
    async def work(self) -> None:
        for device in self.guest.unmigratable():
            raise GenericError(f"State blocked by non-migratable device '{device}'")
        self.group.check()
        if self.group.has(self.tag):
            raise GenericError(f"Snapshot '{self.tag}' already exists in one or more devices")
        vmstate = self.group.find_vmstate(self.vmstate)
        before = self.guest.run_state
        await self.guest.stop_for(RunState.SAVE_VM)
        try:
            await drained(self.graph, None, self.group.create(self.tag, vmstate))
        finally:
            self.guest.go_on(before)


class SnapshotLoad(SnapshotJob):
    """snapshot-load."""

    job_type: ClassVar[str] = "snapshot-load"

    @override
    async def work(self) -> None:
        """Stop the guest and load the snapshot; the guest stays stopped if that fails."""
        before = self.guest.run_state
        await self.guest.stop_for(RunState.RESTORE_VM)
        self.group.check()
        if not self.group.has(self.tag):
            raise GenericError(f"Snapshot '{self.tag}' does not exist in one or more devices")
        vmstate = self.group.find_vmstate(self.vmstate)
        found, holder = find_snapshot(vmstate, self.tag), snapshot_holder(vmstate)
        assert found is not None
        assert holder is not None
        if holder.driver.is_disk_only(self.tag):
            raise GenericError("This is a disk-only snapshot. Revert to it  offline using qemu-img")
        await drained(self.graph, None, self.group.go_to(self.tag))
        self.guest.restart()
        clock = found["vm-clock-sec"] * NANOSECONDS + found["vm-clock-nsec"]
        self.graph.services.clocks.virtual.set(clock)
        self.guest.go_on(before)


class SnapshotDelete(SnapshotJob):
    """snapshot-delete."""

    job_type: ClassVar[str] = "snapshot-delete"

    @override
    async def work(self) -> None:
        self.group.check()
        await drained(self.graph, None, self.group.delete(self.tag))

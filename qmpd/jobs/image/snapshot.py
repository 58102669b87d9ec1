"""snapshot-save, snapshot-load, snapshot-delete: internal snapshots of several disks, as jobs.

QEMU saves the guest's memory and devices in such a snapshot.  A machine of qmpd has neither: of
its state only the time of the clock is saved.  The VM state has size 0, or is a mark where the
machine passes for one with memory, for whoever asks whether there is any.
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
    from qmpd.block.model.node import Node
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

    def vm_state(self) -> bytes:
        """Its state, as far as it has any."""

    def save_state(self) -> None:
        """Save its state, as its migrations do.

        :raises GenericError: one is under way
        """

    def unmigratable(self) -> list[str]:
        """Its devices whose state cannot be saved."""

    async def stop_for(self, state: RunState) -> None:
        """Stop it, in `state` if it runs, after its writes are done and flushed (vm_stop)."""

    def go_on(self, state: RunState) -> None:
        """Put it into `state` again."""

    def restart(self) -> None:
        """Reset its devices without an event."""


async def save_snapshot(
    guest: Guest, group: SnapshotGroup, tag: str, vmstate: str | None, *, overwrite: bool = False
) -> None:
    """Take a snapshot; a guest that runs is stopped meanwhile (``save_snapshot``).

    :param tag: its name
    :param vmstate: name of the node for the guest's state; None for the first that can
    :param overwrite: whether a snapshot of this name is replaced
    :raises GenericError: with QEMU's text
    """
    for device in guest.unmigratable():
        raise GenericError(f"State blocked by non-migratable device '{device}'")
    group.check()
    if overwrite:
        await group.delete(tag)
    elif group.has(tag):
        raise GenericError(f"Snapshot '{tag}' already exists in one or more devices")
    node = group.find_vmstate(vmstate)
    before = guest.run_state
    await guest.stop_for(RunState.SAVE_VM)
    try:
        await drained(guest.graph, None, _create(guest, group, tag, node))
    finally:
        guest.go_on(before)


async def _create(guest: Guest, group: SnapshotGroup, tag: str, node: Node) -> None:
    guest.save_state()
    await group.create(tag, node, guest.vm_state())


async def load_snapshot(guest: Guest, group: SnapshotGroup, tag: str, vmstate: str | None) -> None:
    """Bring the disks and the clock of a guest that is stopped back (``load_snapshot``).

    :raises GenericError: with QEMU's text
    """
    group.check()
    if not group.has(tag):
        raise GenericError(f"Snapshot '{tag}' does not exist in one or more devices")
    node = group.find_vmstate(vmstate)
    found, holder = find_snapshot(node, tag), snapshot_holder(node)
    assert found is not None
    assert holder is not None
    if holder.driver.is_disk_only(tag):
        raise GenericError("This is a disk-only snapshot. Revert to it  offline using qemu-img")
    await drained(guest.graph, None, group.go_to(tag))
    guest.restart()
    clock = found["vm-clock-sec"] * NANOSECONDS + found["vm-clock-nsec"]
    guest.graph.services.clocks.virtual.set(clock)


async def delete_snapshot(
    guest: Guest, group: SnapshotGroup, tag: str, *, some_cannot: bool = False
) -> None:
    """Delete a snapshot (``delete_snapshot``).

    :param some_cannot: whether disks that cannot have snapshots are passed over
    :raises GenericError: with QEMU's text
    """
    if not some_cannot:
        group.check()
    await drained(guest.graph, None, group.delete(tag))


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
                await self.table.clock.completions.patiently(self.work())
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
        await save_snapshot(self.guest, self.group, self.tag, self.vmstate)


class SnapshotLoad(SnapshotJob):
    """snapshot-load."""

    job_type: ClassVar[str] = "snapshot-load"

    @override
    async def work(self) -> None:
        """Stop the guest and load the snapshot; the guest stays stopped if that fails."""
        before = self.guest.run_state
        await self.guest.stop_for(RunState.RESTORE_VM)
        await load_snapshot(self.guest, self.group, self.tag, self.vmstate)
        self.guest.go_on(before)


class SnapshotDelete(SnapshotJob):
    """snapshot-delete."""

    job_type: ClassVar[str] = "snapshot-delete"

    @override
    async def work(self) -> None:
        await delete_snapshot(self.guest, self.group, self.tag)

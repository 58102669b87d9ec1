"""Commands of schema modules migration and yank: out of band ones, and snapshots of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.jobs.image.snapshot import SnapshotDelete, SnapshotJob, SnapshotLoad, SnapshotSave
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.migration import (
        MigrateRecoverArguments,
        MigrateSetCapabilitiesArguments,
        MigrateSetParameters,
        SnapshotDeleteArguments,
        SnapshotLoadArguments,
        SnapshotSaveArguments,
    )
    from qmpd.profile.models.yank import YankArguments


def query_migrate_capabilities(context: Context, _: None) -> list[dict[str, object]]:
    """What a migration may do."""
    return context.machine.migration.capabilities.statuses()


def migrate_set_capabilities(context: Context, _: MigrateSetCapabilitiesArguments) -> None:
    """Say what a migration may do."""
    context.machine.migration.set_capabilities(context.raw["capabilities"])


def query_migrate_parameters(context: Context, _: None) -> dict[str, object]:
    """What a migration goes by."""
    return context.machine.migration.parameters.info()


def migrate_set_parameters(context: Context, _: MigrateSetParameters) -> None:
    """Set what a migration goes by."""
    context.machine.migration.set_parameters(context.raw)


def migrate_pause(context: Context, _: None) -> None:
    """Pause a postcopy migration: a machine of qmpd is never in one."""
    raise GenericError(
        "migrate-pause is currently only supported during postcopy-active or postcopy-recover state"
    )


def migrate_recover(context: Context, _: MigrateRecoverArguments) -> None:
    """Recover a paused postcopy migration: there is none."""
    raise GenericError("Migrate recover can only be run when postcopy is paused.")


def query_yank(context: Context, _: None) -> list[dict[str, object]]:
    """Nothing of qmpd's can hang on a connection, so there is nothing to yank."""
    return []


def yank(context: Context, arguments: YankArguments) -> None:
    """Cut the connections named; none exists.

    :raises DeviceNotFound: for any instance
    """
    if arguments.instances:
        raise DeviceNotFound("Instance not found")


async def snapshot_save(context: Context, arguments: SnapshotSaveArguments) -> None:
    """Start a job that takes a snapshot of several disks at one instant."""
    await _run(
        SnapshotSave(
            context.machine, arguments.job_id, arguments.tag, arguments.devices, arguments.vmstate
        )
    )


async def snapshot_load(context: Context, arguments: SnapshotLoadArguments) -> None:
    """Start a job that brings several disks back to a snapshot."""
    await _run(
        SnapshotLoad(
            context.machine, arguments.job_id, arguments.tag, arguments.devices, arguments.vmstate
        )
    )


async def snapshot_delete(context: Context, arguments: SnapshotDeleteArguments) -> None:
    """Start a job that deletes a snapshot from several disks."""
    await _run(SnapshotDelete(context.machine, arguments.job_id, arguments.tag, arguments.devices))


async def _run(job: SnapshotJob) -> None:
    """Start a job, whose work is a bottom half: it is done when the command is answered."""
    job.start()


HANDLERS: Final[Handlers] = {
    "query-migrate-capabilities": query_migrate_capabilities,
    "migrate-set-capabilities": migrate_set_capabilities,
    "query-migrate-parameters": query_migrate_parameters,
    "migrate-set-parameters": migrate_set_parameters,
    "migrate-pause": migrate_pause,
    "migrate-recover": migrate_recover,
    "query-yank": query_yank,
    "yank": yank,
    "snapshot-save": snapshot_save,
    "snapshot-load": snapshot_load,
    "snapshot-delete": snapshot_delete,
}

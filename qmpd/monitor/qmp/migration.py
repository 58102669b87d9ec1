"""Commands of schema modules migration and yank, snapshots of machines among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.model.families import Connected
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.jobs.image.snapshot import SnapshotDelete, SnapshotJob, SnapshotLoad, SnapshotSave
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.migration import (
        MigrateArguments,
        MigrateContinueArguments,
        MigrateIncomingArguments,
        MigrateRecoverArguments,
        MigrateSetCapabilitiesArguments,
        MigrateSetParameters,
        SnapshotDeleteArguments,
        SnapshotLoadArguments,
        SnapshotSaveArguments,
    )
    from qmpd.profile.models.yank import YankArguments


def query_migrate(context: Context, _: None) -> dict[str, Any]:
    """How the migration stands."""
    return context.machine.migration.info()


def migrate(context: Context, arguments: MigrateArguments) -> None:
    """Begin to migrate to another machine."""
    context.machine.migration.migrate(
        arguments.uri,
        context.raw.get("channels"),
        resume=bool(arguments.resume),
        take=context.descriptors.take,
        looks_last=context.machine.profile.rules.holds("migrates-to-uris"),
    )


def migrate_incoming(context: Context, arguments: MigrateIncomingArguments) -> None:
    """Wait for the stream of another machine."""
    context.machine.migration.receive(
        arguments.uri,
        context.raw.get("channels"),
        exit_on_error=arguments.exit_on_error is not False,
        take=context.descriptors.take,
    )


def migrate_cancel(context: Context, _: None) -> None:
    """Cancel the migration that is under way."""
    context.machine.migration.cancel()


def migrate_continue(context: Context, arguments: MigrateContinueArguments) -> None:
    """Let a migration go on that waits."""
    context.machine.migration.go_on(arguments.state)


def migrate_start_postcopy(context: Context, _: None) -> None:
    """Let the guest run at its new place before all is there."""
    context.machine.migration.start_postcopy()


def query_migrationthreads(context: Context, _: None) -> list[dict[str, object]]:
    """The threads of the migration that is under way."""
    return context.machine.migration.threads()


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
    """What hangs where a connection does: sockets of character devices, nodes, a migration."""
    found: list[dict[str, object]] = [
        {"type": "chardev", "id": label} for label in context.machine.host.chardevs.sockets()
    ]
    found += [{"node-name": name, "type": "block-node"} for name in _connected(context)]
    return [*found, {"type": "migration"}] if context.machine.migration.yankable else found


def yank(context: Context, arguments: YankArguments) -> None:
    """Cut the connections named.

    :raises DeviceNotFound: one of them does not exist; none is cut then
    """
    there = query_yank(context, None)
    named = context.raw["instances"]
    if any(instance not in there for instance in named):
        raise DeviceNotFound("Instance not found")
    for instance in named:
        if instance["type"] == "migration":
            context.machine.migration.yank()
        elif instance["type"] == "block-node":
            _connected(context)[instance["node-name"]].yank()
        else:
            context.machine.host.chardevs.yank(instance["id"])


def _connected(context: Context) -> dict[str, Connected]:
    """The drivers that have connections, by the names of their nodes, the oldest first."""
    return {
        node.node_name: node.driver
        for node in context.machine.graph.nodes()
        if isinstance(node.driver, Connected)
    }


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
    "query-migrate": query_migrate,
    "migrate": migrate,
    "migrate-incoming": migrate_incoming,
    "migrate_cancel": migrate_cancel,
    "migrate-continue": migrate_continue,
    "migrate-start-postcopy": migrate_start_postcopy,
    "query-migrationthreads": query_migrationthreads,
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

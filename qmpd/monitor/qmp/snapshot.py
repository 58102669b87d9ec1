"""Commands of schema modules block-core and group-snapshot that make and delete snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.io.internal_snapshots import change_backing_file, delete_internal
from qmpd.monitor.qmp.handlers import Context, Handler, Handlers
from qmpd.transaction import run_action

if TYPE_CHECKING:
    from qmpd.profile.models.block_core import (
        BlockdevSnapshotDeleteInternalSyncArguments,
        ChangeBackingFileArguments,
    )
    from qmpd.profile.models.group_snapshot import BlockdevGroupSnapshotSyncArguments


def _action(kind: str) -> Handler:
    async def handler(context: Context, arguments: Any) -> None:
        await run_action(context.machine, kind, arguments)

    return handler


async def group_snapshot(context: Context, arguments: BlockdevGroupSnapshotSyncArguments) -> None:
    """Put new overlays on several disks, or on none."""
    from qmpd.transaction.group_snapshot import run_group_snapshot

    await run_group_snapshot(context.machine, arguments.devlist)


async def delete(
    context: Context, arguments: BlockdevSnapshotDeleteInternalSyncArguments
) -> dict[str, Any]:
    """Delete an internal snapshot."""
    graph = context.machine.graph
    return await delete_internal(graph, arguments.device, arguments.id, arguments.name)


async def change_backing(context: Context, arguments: ChangeBackingFileArguments) -> None:
    """Write another backing file name into an image's header."""
    await change_backing_file(
        context.machine.graph, arguments.device, arguments.image_node_name, arguments.backing_file
    )


_ACTIONS: Final = (
    "blockdev-snapshot",
    "blockdev-snapshot-sync",
    "blockdev-snapshot-internal-sync",
)
"""Commands that are a transaction of one action, which has the same name."""

HANDLERS: Final[Handlers] = {
    **{kind: _action(kind) for kind in _ACTIONS},
    "blockdev-group-snapshot-sync": group_snapshot,
    "blockdev-snapshot-delete-internal-sync": delete,
    "change-backing-file": change_backing,
}

"""Commands blockdev-backup and drive-backup of schema module block-core."""

from __future__ import annotations

from typing import Any

from qmpd.monitor.qmp.handlers import CommandTable, Context
from qmpd.transaction import run_action

BACKUP = CommandTable()


@BACKUP.command("blockdev-backup")
async def blockdev_backup(context: Context, arguments: Any) -> None:
    """Copy a device, as it is now, to a node."""
    await run_action(context.machine, "blockdev-backup", arguments)


@BACKUP.command("drive-backup")
async def drive_backup(context: Context, arguments: Any) -> None:
    """Copy a device, as it is now, to an image."""
    await run_action(context.machine, "drive-backup", arguments)

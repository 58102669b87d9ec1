"""Commands blockdev-backup and drive-backup of schema module block-core."""

from __future__ import annotations

from typing import Any, Final

from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.transaction import run_action


async def blockdev_backup(context: Context, arguments: Any) -> None:
    """Copy a device, as it is now, to a node."""
    await run_action(context.machine, "blockdev-backup", arguments)


async def drive_backup(context: Context, arguments: Any) -> None:
    """Copy a device, as it is now, to an image."""
    await run_action(context.machine, "drive-backup", arguments)


HANDLERS: Final[Handlers] = {
    "blockdev-backup": blockdev_backup,
    "drive-backup": drive_backup,
}

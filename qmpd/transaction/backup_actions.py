"""The actions that start backups."""

from __future__ import annotations

from qmpd.errors import NotServed
from qmpd.transaction.core import Action


class Backup(Action):
    """blockdev-backup."""

    groupable = True

    async def prepare(self) -> None:
        """See `Action.prepare`."""
        self.graph.lookup(self.data.device)
        self.graph.lookup(self.data.target)
        raise NotServed("Action 'blockdev-backup' is not served by qmpd yet")


class DriveBackup(Action):
    """drive-backup."""

    groupable = True

    async def prepare(self) -> None:
        """See `Action.prepare`."""
        self.graph.lookup(self.data.device)
        raise NotServed("Action 'drive-backup' is not served by qmpd yet")

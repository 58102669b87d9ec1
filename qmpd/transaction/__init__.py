"""Transactions: either all actions happen or none (qmp_transaction).

The phases are those of tran_*(): prepare each action in order; then commit each in
reverse, or, if one failed, abort in reverse, including the one that failed; then
clean in reverse.  Later actions of the list see what earlier ones have prepared.
Plain commands run the same actions, alone.  See `qmpd.transaction.core`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from qmpd.block.change.drain import drain_all
from qmpd.errors import GenericError
from qmpd.jobs.core.job_txn import JobTxn
from qmpd.transaction.backup_actions import Backup, DriveBackup
from qmpd.transaction.bitmap_actions import (
    BitmapAdd,
    BitmapClear,
    BitmapDisable,
    BitmapEnable,
    BitmapMerge,
    BitmapRemove,
)
from qmpd.transaction.core import Abort, Action, ActionRequest, Bench, Refused, run_phases
from qmpd.transaction.group_snapshot import run_group_snapshot
from qmpd.transaction.snapshot_actions import Snapshot, SnapshotInternalSync, SnapshotSync

__all__ = [
    "ACTIONS",
    "Action",
    "ActionRequest",
    "Bench",
    "run_action",
    "run_bitmap_action",
    "run_group_snapshot",
    "run_transaction",
]

ACTIONS: Final[Mapping[str, type[Action]]] = MappingProxyType(
    {
        "abort": Abort,
        "block-dirty-bitmap-add": BitmapAdd,
        "block-dirty-bitmap-remove": BitmapRemove,
        "block-dirty-bitmap-clear": BitmapClear,
        "block-dirty-bitmap-enable": BitmapEnable,
        "block-dirty-bitmap-disable": BitmapDisable,
        "block-dirty-bitmap-merge": BitmapMerge,
        "blockdev-backup": Backup,
        "drive-backup": DriveBackup,
        "blockdev-snapshot": Snapshot,
        "blockdev-snapshot-sync": SnapshotSync,
        "blockdev-snapshot-internal-sync": SnapshotInternalSync,
    }
)
"""Every kind of action (QAPI enum TransactionActionKind)."""


async def run_transaction(
    bench: Bench, requests: Sequence[ActionRequest], *, grouped: bool = False, in_turn: bool = False
) -> None:
    """Run all actions or none.

    :param grouped: completion-mode grouped: only actions that start jobs may be in the list,
        and their jobs complete together
    :param in_turn: an action that cannot be grouped is refused when it is prepared, and abort is
        never, instead of all being looked at first
    :raises QmpError: the error of the action that failed; nothing has changed then
    """
    job_txn = JobTxn() if grouped else None
    refused = {kind for kind, _ in requests if grouped and not ACTIONS[kind].groupable}
    if refused and not in_turn:
        raise _not_grouped(next(kind for kind, _ in requests if kind in refused))
    await drain_all(bench.graph)
    await run_phases(
        [
            Refused(bench, data, _not_grouped(kind))
            if kind in refused - {"abort"}
            else ACTIONS[kind](bench, data, job_txn)
            for kind, data in requests
        ]
    )


def _not_grouped(kind: str) -> GenericError:
    return GenericError(
        f"Action '{kind}' does not support transaction property completion-mode = grouped"
    )


async def run_action(bench: Bench, kind: str, data: Any) -> None:
    """Run a single action: the command is a transaction of one (``blockdev_do_action``).

    :raises QmpError: the action failed; nothing has changed then
    """
    await drain_all(bench.graph)
    await run_phases([ACTIONS[kind](bench, data)])


async def run_bitmap_action(bench: Bench, kind: str, data: Any) -> None:
    """Run a single action on a bitmap.

    QEMU has no transaction for these commands (``qmp_block_dirty_bitmap_add`` and the like), so
    that nothing is drained.

    :raises QmpError: the action failed; nothing has changed then
    """
    await run_phases([ACTIONS[kind](bench, data)])

"""Transactions: either all actions happen or none (qmp_transaction).

The phases are those of tran_*(): prepare each action in order; then commit each in
reverse, or, if one failed, abort in reverse, including the one that failed; then
clean in reverse.  Later actions of the list see what earlier ones have prepared.
Plain commands run the same actions, alone.  See `qmpd.transaction.core`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.drain import drain_all, drain_all_begin, drain_all_end
from qmpd.errors import GenericError
from qmpd.jobs.core.job_txn import JobTxn
from qmpd.transaction.core import AT_A_TIME, Action, ActionRequest, Bench, Refused, run_phases

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph

__all__ = [
    "ACTIONS",
    "Action",
    "ActionRequest",
    "Bench",
    "find_action",
    "run_action",
    "run_bitmap_action",
    "run_transaction",
]

ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "abort": "core:Abort",
        "block-dirty-bitmap-add": "bitmap_actions:BitmapAdd",
        "block-dirty-bitmap-remove": "bitmap_actions:BitmapRemove",
        "block-dirty-bitmap-clear": "bitmap_actions:BitmapClear",
        "block-dirty-bitmap-enable": "bitmap_actions:BitmapEnable",
        "block-dirty-bitmap-disable": "bitmap_actions:BitmapDisable",
        "block-dirty-bitmap-merge": "bitmap_actions:BitmapMerge",
        "blockdev-backup": "backup_actions:Backup",
        "drive-backup": "backup_actions:DriveBackup",
        "blockdev-snapshot": "snapshot_actions:Snapshot",
        "blockdev-snapshot-sync": "snapshot_actions:SnapshotSync",
        "blockdev-snapshot-internal-sync": "snapshot_actions:SnapshotInternalSync",
    }
)
"""Module and class of every kind of action (QAPI enum TransactionActionKind)."""


@cache
def find_action(kind: str) -> type[Action]:
    """The action of a kind, whose module is imported when it is first used."""
    module, _, cls = ACTIONS[kind].partition(":")
    action: type[Action] = getattr(import_module(f"{__name__}.{module}"), cls)
    return action


async def run_transaction(
    bench: Bench, requests: Sequence[ActionRequest], *, grouped: bool = False, in_turn: bool = False
) -> None:
    """Run all actions or none.

    :param grouped: completion-mode grouped: only actions that start jobs may be in the list,
        and their jobs complete together
    :param in_turn: an action that cannot be grouped is refused when it is prepared, and abort is
        never, instead of all being looked at first; and they are committed in their order
    :raises QmpError: the error of the action that failed; nothing has changed then
    """
    job_txn = JobTxn() if grouped else None
    refused = {kind for kind, _ in requests if grouped and not find_action(kind).groupable}
    if refused and not in_turn:
        raise _not_grouped(next(kind for kind, _ in requests if kind in refused))
    refused -= {"abort"}
    actions = [
        Refused(bench, data, _not_grouped(kind))
        if kind in refused
        else find_action(kind)(bench, data, job_txn)
        for kind, data in requests
    ]
    if len(actions) > AT_A_TIME and _concerns_only_bitmaps(bench, requests):
        await _run_slowly(bench.graph, actions, in_turn=in_turn)
        return
    await drain_all(bench.graph)
    await run_phases(actions, in_turn=in_turn)


def _concerns_only_bitmaps(bench: Bench, requests: Sequence[ActionRequest]) -> bool:
    return not bench.jobs.jobs and all(
        kind.startswith("block-dirty-bitmap-") or kind == "abort" for kind, _ in requests
    )


async def _run_slowly(graph: Graph, actions: Sequence[Action], *, in_turn: bool) -> None:
    """Run many actions while others have their turn that have to do with none of this.

    No job is there, and requests of guests and exports' clients wait until all is over, so that
    nobody sees what is half done.
    """
    await drain_all_begin(graph)
    try:
        await run_phases(actions, in_turn=in_turn, rest=graph.services.loop.completions.rest)
    finally:
        drain_all_end(graph)


def _not_grouped(kind: str) -> GenericError:
    return GenericError(
        f"Action '{kind}' does not support transaction property completion-mode = grouped"
    )


async def run_action(bench: Bench, kind: str, data: Any) -> None:
    """Run a single action: the command is a transaction of one (``blockdev_do_action``).

    :raises QmpError: the action failed; nothing has changed then
    """
    await drain_all(bench.graph)
    await run_phases([find_action(kind)(bench, data)])


async def run_bitmap_action(bench: Bench, kind: str, data: Any) -> None:
    """Run a single action on a bitmap.

    QEMU has no transaction for these commands (``qmp_block_dirty_bitmap_add`` and the like), so
    that nothing is drained.

    :raises QmpError: the action failed; nothing has changed then
    """
    await run_phases([find_action(kind)(bench, data)])

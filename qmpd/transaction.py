"""Transactions: actions that all happen, or none.

The phases are QEMU's: prepare of each action in order; then commit of each in
reverse, or, when one failed, abort in reverse, the failing one included; then
clean in reverse.  What an action prepares, later actions of the list see.  The
plain commands run the same actions, alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from qmpd.block import bitmap_commands
from qmpd.block.bitmap import DirtyBitmap, Saved
from qmpd.block.graph import Graph
from qmpd.block.node import Node
from qmpd.errors import GenericError, NotServed
from qmpd.jobs.table import JobTable
from qmpd.jobs.transaction import JobTxn


class ActionRequest(NamedTuple):
    """One action as asked for: its kind, and data with an attribute for each argument."""

    kind: str
    data: Any


class Bench(Protocol):
    """What actions act upon: a machine has it."""

    @property
    def graph(self) -> Graph:
        """The block graph."""

    @property
    def jobs(self) -> JobTable:
        """The jobs."""


class Action:
    """One action under way.

    :param bench: what it acts upon
    :param data: its arguments, as attributes; absent ones are None
    :param job_txn: what jobs of the whole transaction complete together with
        (completion-mode grouped); None when each is on its own
    """

    groupable: ClassVar[bool] = False
    """Whether it may be part of a transaction with completion-mode grouped."""

    def __init__(self, bench: Bench, data: Any, job_txn: JobTxn | None = None) -> None:
        self.graph = bench.graph
        self.jobs = bench.jobs
        self.data = data
        self.job_txn = job_txn

    async def prepare(self) -> None:
        """Do it, so that it can be undone.

        :raises QmpError: it cannot be done
        """

    async def commit(self) -> None:
        """All actions are prepared: make it final."""

    async def abort(self) -> None:
        """An action failed, perhaps this one: undo what was done."""

    async def clean(self) -> None:
        """After commit or abort: give back what was held."""


class Abort(Action):
    """Fails, so that the transaction does."""

    async def prepare(self) -> None:
        """See `Action.prepare`."""
        raise GenericError("Transaction aborted using Abort action")


class BitmapAdd(Action):
    """block-dirty-bitmap-add."""

    _made: tuple[Node, DirtyBitmap] | None = None

    async def prepare(self) -> None:
        """The bitmap is there and records."""
        data = self.data
        self._made = bitmap_commands.add(
            self.graph,
            data.node,
            data.name,
            granularity=data.granularity,
            persistent=bool(data.persistent),
            disabled=bool(data.disabled),
        )

    async def abort(self) -> None:
        """The bitmap is dropped."""
        if self._made is not None:
            node, bitmap = self._made
            node.bitmaps.remove(bitmap)


class BitmapRemove(Action):
    """block-dirty-bitmap-remove: until commit the bitmap is there, but busy."""

    _removed: tuple[Node, DirtyBitmap] | None = None

    async def prepare(self) -> None:
        """The stored copy is deleted, the bitmap itself out of reach."""
        self._removed = await bitmap_commands.begin_remove(
            self.graph, self.data.node, self.data.name
        )
        _, bitmap = self._removed
        bitmap.skip_store = bitmap.busy = True

    async def commit(self) -> None:
        """The bitmap is released."""
        if self._removed is not None:
            node, bitmap = self._removed
            bitmap.busy = False
            node.bitmaps.remove(bitmap)

    async def abort(self) -> None:
        """It is as before, and will be stored again when its node is closed."""
        if self._removed is not None:
            _, bitmap = self._removed
            bitmap.skip_store = bitmap.busy = False


class _BitsAction(Action):
    """Changes bits; keeps the old ones until the end."""

    _changed: tuple[DirtyBitmap, Saved] | None = None

    async def abort(self) -> None:
        """The old bits are back."""
        if self._changed is not None:
            bitmap, saved = self._changed
            bitmap.restore(saved)


class BitmapClear(_BitsAction):
    """block-dirty-bitmap-clear."""

    async def prepare(self) -> None:
        """All bits are clear."""
        self._changed = bitmap_commands.clear(self.graph, self.data.node, self.data.name)


class BitmapMerge(_BitsAction):
    """block-dirty-bitmap-merge."""

    async def prepare(self) -> None:
        """The sources' bits are set in the target."""
        self._changed = bitmap_commands.merge(
            self.graph, self.data.node, self.data.target, self.data.bitmaps
        )


class BitmapEnable(Action):
    """block-dirty-bitmap-enable."""

    enabled: ClassVar[bool] = True
    _changed: tuple[DirtyBitmap, bool] | None = None

    async def prepare(self) -> None:
        """The bitmap records, or does not."""
        self._changed = bitmap_commands.set_enabled(
            self.graph, self.data.node, self.data.name, enabled=self.enabled
        )

    async def abort(self) -> None:
        """It does what it did before."""
        if self._changed is not None:
            bitmap, before = self._changed
            bitmap.enabled = before


class BitmapDisable(BitmapEnable):
    """block-dirty-bitmap-disable."""

    enabled = False


class _Unserved(Action):
    """An action to come: what it acts upon is looked up as QEMU does, then it is refused."""

    kind: ClassVar[str]

    async def prepare(self) -> None:
        self.look_up()
        raise NotServed(f"Transaction action '{self.kind}' is not served by qmpd yet")

    def look_up(self) -> None:
        """Find the nodes.

        :raises GenericError: one of them is not there
        """


class Backup(_Unserved):
    """blockdev-backup."""

    kind = "blockdev-backup"
    groupable = True

    def look_up(self) -> None:
        """Source, then target."""
        self.graph.lookup(self.data.device)
        self.graph.lookup(self.data.target)


class DriveBackup(_Unserved):
    """drive-backup."""

    kind = "drive-backup"
    groupable = True

    def look_up(self) -> None:
        """The source; the target is yet to be opened."""
        self.graph.lookup(self.data.device)


class Snapshot(_Unserved):
    """blockdev-snapshot."""

    kind = "blockdev-snapshot"

    def look_up(self) -> None:
        """The node, then its overlay."""
        self.graph.lookup(self.data.node)
        self.graph.lookup(self.data.overlay)


class SnapshotSync(_Unserved):
    """blockdev-snapshot-sync."""

    kind = "blockdev-snapshot-sync"

    def look_up(self) -> None:
        """The device, or the node."""
        self.graph.lookup_device_or_node(self.data.device, self.data.node_name)


class SnapshotInternalSync(_Unserved):
    """blockdev-snapshot-internal-sync."""

    kind = "blockdev-snapshot-internal-sync"

    def look_up(self) -> None:
        """The node, whose format must know internal snapshots."""
        name = self.data.device
        node = self.graph.lookup(name)
        if not node.driver.supports_internal_snapshots:
            raise GenericError(
                f"Block format '{node.driver.format_name}' used by device '{name}' does not"
                " support internal snapshots"
            )


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
    bench: Bench, requests: Sequence[ActionRequest], *, grouped: bool = False
) -> None:
    """Run all actions, or none.

    :param grouped: completion-mode grouped: only actions that start jobs may be in the list,
        and their jobs complete together
    :raises QmpError: that of the action that failed; everything is as before then
    """
    job_txn = None
    if grouped:
        for request in requests:
            if not ACTIONS[request.kind].groupable:
                raise GenericError(
                    f"Action '{request.kind}' does not support transaction property"
                    " completion-mode = grouped"
                )
        job_txn = JobTxn()
    await bench.graph.drain_all()
    await run_phases([ACTIONS[kind](bench, data, job_txn) for kind, data in requests])


async def run_action(bench: Bench, kind: str, data: Any) -> None:
    """Run one action alone: a command is a transaction of one."""
    await run_phases([ACTIONS[kind](bench, data)])


async def run_phases(actions: Sequence[Action]) -> None:
    """Prepare all actions, then commit or abort them, then clean up after them.

    :raises QmpError: the first that `prepare` raised
    """
    begun: list[Action] = []
    try:
        for action in actions:
            begun.insert(0, action)
            await action.prepare()
    except BaseException:
        for action in begun:
            await action.abort()
        raise
    else:
        for action in begun:
            await action.commit()
    finally:
        for action in begun:
            await action.clean()

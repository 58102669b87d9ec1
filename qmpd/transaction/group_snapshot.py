"""blockdev-group-snapshot-sync, the predecessor of transactions: snapshots of all disks or none.

It runs as a transaction of blockdev-snapshot-sync actions, with the error classes of 2012: what
is wrong with a disk or its file shows in the error's class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from qmpd.base.override import override
from qmpd.block.change.drain import drain_all
from qmpd.block.change.fill import protocol_options
from qmpd.block.change.probe import find_format
from qmpd.block.model.blockers import Op
from qmpd.block.model.node import Node
from qmpd.errors import (
    DeviceInUse,
    DeviceNotFound,
    GenericError,
    InvalidBlockFormat,
    NotServed,
    OpenFileFailed,
    QmpError,
)
from qmpd.transaction.core import Bench, run_phases
from qmpd.transaction.snapshot_actions import SnapshotSync


class SnapshotDev(Protocol):
    """One disk of a group."""

    @property
    def device(self) -> str:
        """Name of the block backend."""

    @property
    def snapshot_file(self) -> str:
        """File name of the overlay to create."""

    @property
    def format(self) -> str | None:
        """Its format; None is qcow2."""


class _Arguments(NamedTuple):
    """The arguments of blockdev-snapshot-sync for one disk of a group."""

    device: str
    snapshot_file: str
    format: str
    node_name: None = None
    snapshot_node_name: None = None
    mode: str = "absolute-paths"


class _GroupSnapshot(SnapshotSync):
    """blockdev-snapshot-sync with the error classes of 2012."""

    @override
    def look_up(self) -> Node:
        device = self.data.device
        if device not in self.graph.backends:
            raise DeviceNotFound(f"Device '{device}' not found")
        node = super().look_up()
        try:
            node.check_operation(Op.EXTERNAL_SNAPSHOT)
        except GenericError:
            raise DeviceInUse(f"Device '{device}' is in use") from None
        return node

    @override
    async def open_overlay(self, old: Node) -> Node:
        file, image_format = self.data.snapshot_file, self.data.format
        try:
            find_format(image_format)
            # A protocol nobody knows was told as if the format were at fault.
            protocol_options(file, self.graph.services.storage)
        except GenericError:
            raise InvalidBlockFormat(f"Invalid block format '{image_format}'") from None
        try:
            return await super().open_overlay(old)
        except NotServed:
            raise
        except QmpError:
            raise OpenFileFailed(f"Could not open '{file}'") from None


async def run_group_snapshot(bench: Bench, devices: Iterable[SnapshotDev]) -> None:
    """Put a new overlay on each of `devices` or on none.

    :raises DeviceNotFound: there is no such backend
    :raises DeviceInUse: a job or another node needs it as it is
    :raises InvalidBlockFormat: there is no such format
    :raises OpenFileFailed: the overlay cannot be created or opened
    :raises GenericError: the device is empty, or cannot be flushed
    """
    await drain_all(bench.graph)
    actions = []
    for one in devices:
        image_format = "qcow2" if one.format is None else one.format
        data = _Arguments(one.device, one.snapshot_file, image_format)
        actions.append(_GroupSnapshot(bench, data))
    await run_phases(actions)

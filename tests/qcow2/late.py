"""qmpd in the place of ``qemu-system-x86_64``, without three rules that are safer than QEMU's.

* Before freed clusters are reused, L2 tables that refer to them are written.  QEMU keeps these in
  memory, and where the image turns out to be corrupt meanwhile it never writes them.
* Internal snapshots, and the emptying of an image, change it at once.  QEMU writes one thing after
  the other, and stops in the middle where the image turns out to be corrupt.
* The header of a corrupt image has the number of snapshots of the table that is in the file.  QEMU
  writes the number that it would have had with the table that could not be written.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from unittest.mock import patch

from qmpd.block.drivers.formats.qcow2.clusters import empty
from qmpd.block.drivers.formats.qcow2.snapshots import snapshots
from qmpd.block.drivers.formats.qcow2.snapshots.table import write_snapshots
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.drivers.formats.qcow2.tables.snapshot import Snapshot
from qmpd.cli.system.main import main
from qmpd.errors import BlockIOError


def _nothing(_s: Qcow2State, _cluster_index: int) -> None:
    """Do not remember what was freed."""


def _one_by_one(_s: Qcow2State) -> nullcontext[None]:
    """Hold nothing back."""
    return nullcontext()


async def _counted_before(s: Qcow2State, new: list[Snapshot]) -> None:
    """Write a table of snapshots that are counted before; a new one only counts if that works."""
    old, s.snapshots = s.snapshots, new
    try:
        await write_snapshots(s, new)
    except BlockIOError:
        if len(old) < len(new):
            s.snapshots = old
        raise


if __name__ == "__main__":
    with (
        patch.object(Qcow2State, "note_freed", _nothing),
        patch.object(snapshots, "at_once", _one_by_one),
        patch.object(empty, "at_once", _one_by_one),
        patch.object(snapshots, "write_snapshots", _counted_before),
    ):
        sys.exit(main())

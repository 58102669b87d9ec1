"""qmpd in the place of ``qemu-system-x86_64``, without the one rule that is safer than QEMU's.

That is: before freed clusters are reused, L2 tables that refer to them are written.  QEMU keeps
these in memory, and where the image turns out to be corrupt meanwhile it never writes them.
"""

from __future__ import annotations

import sys

from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.cli.system.main import main


def _nothing(_s: Qcow2State, _cluster_index: int) -> None:
    """Do not remember what was freed."""


if __name__ == "__main__":
    setattr(Qcow2State, "note_freed", _nothing)  # noqa: B010
    sys.exit(main())

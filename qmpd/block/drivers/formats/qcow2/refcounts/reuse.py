"""Before freed clusters are reused, no table on the disk may refer to them for their last owner.

QEMU does not see to that: if it is killed at this point, or the power is lost, it leaves an image
in which the new owner's data also appears where the old owner's was zeroed or discarded.  Here the
L2 tables that no longer refer to them are written first.

An image that is damaged so that they cannot be written, or would destroy metadata, is as safe as it
is with QEMU: whoever flushes it, or makes room in a cache, is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def before_reuse(s: Qcow2State, cluster_index: int, count: int) -> None:
    """Write and flush the L2 tables if some of these clusters were freed since the last time."""
    freed = s.freed
    if not freed or cluster_index >= freed.stop or freed.start >= cluster_index + count:
        return
    s.freed = range(0)
    s.overlaps_are_quiet = True
    try:
        await s.l2_cache.write()
        await s.file.flush()
    except BlockIOError:
        for index in (freed.start, freed.stop - 1):
            s.note_freed(index)
    finally:
        s.overlaps_are_quiet = False

"""Whether clusters were allocated before they are written (detect_metadata_preallocation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.refcounts.counts import block_offset, get_refcount
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def find_preallocation(s: Qcow2State) -> bool:
    """Whether data clusters may be holes in the file; found out once, when block status is asked.

    Call with the image's lock held.
    """
    if s.metadata_preallocation is None:
        allocated = s.file.driver.allocated_size()
        try:
            s.metadata_preallocation = allocated is not None and await _detect(s, allocated)
        except BlockIOError:
            s.metadata_preallocation = False
    return s.metadata_preallocation


async def _detect(s: Qcow2State, allocated: int) -> bool:
    """Whether metadata was preallocated: more clusters are in use than the file has space for.

    :param allocated: bytes of storage allocated to the file
    """
    geometry = s.geometry
    real = allocated >> geometry.cluster_bits
    threshold = max(real * 10 // 9, real + 2)
    clusters = geometry.clusters(s.file.length)
    if clusters < threshold and not s.file.driver.capabilities.hears_events:
        # Without a look at each count: most new images are that small. The blocks are read.
        for index in range(0, clusters, geometry.refcount_block_size):
            await get_refcount(s, index)
        return False
    count, size = 0, geometry.refcount_block_size
    # a damaged image may say that it goes on for terabytes: nothing is in use behind the last block
    for block in range(min(-(-clusters // size), len(s.refcount_table))):
        if not await block_offset(s, block):
            continue
        for index in range(block * size, min((block + 1) * size, clusters)):
            if count >= threshold:
                return True
            count += bool(await get_refcount(s, index))
    return count >= threshold

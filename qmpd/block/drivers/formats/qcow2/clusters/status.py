"""Block status of an image (qcow2_co_block_status)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.sizes import INT_MAX
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_host_offset, without_table
from qmpd.block.drivers.formats.qcow2.clusters.preallocated import find_preallocation
from qmpd.block.drivers.formats.qcow2.tables.entries import HAS_OFFSET, READS_AS_ZERO, UNALLOCATED
from qmpd.block.model.data import BlockStatus

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


async def image_status(s: Qcow2State, offset: int, length: int) -> BlockStatus:
    """The status at virtual `offset`, for as many bytes as it is the same.

    In an image with preallocated metadata, data clusters may be holes in the file, so
    the data file is queried as well.

    :raises BlockIOError: EIO where the image is corrupt, or an error of the file
    """
    async with s.lock:
        preallocated = await find_preallocation(s)
        count = without_table(s, offset, min(length, INT_MAX))
        if count:
            zero = s.backing is None or offset >= s.backing.length
            return BlockStatus(count, data=False, zero=zero, allocated=False)
        kind, host, count = await get_host_offset(s, offset, min(length, INT_MAX))
    zero = kind in READS_AS_ZERO
    data = not zero and kind not in UNALLOCATED
    placed = kind in HAS_OFFSET
    allocated_here = zero or data
    if kind in UNALLOCATED:
        zero = s.backing is None or offset >= s.backing.length
    elif data and placed and preallocated:
        below = await s.data_file.block_status(host, count)
        if below.length:
            count, zero = min(count, below.length), below.zero
        else:
            zero = True
    return BlockStatus(
        count,
        data=data,
        zero=zero,
        allocated=allocated_here,
        offset=host if placed else None,
        file=s.data_file if placed else None,
    )

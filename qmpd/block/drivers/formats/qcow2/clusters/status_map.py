"""Block status of many clusters in one go.

The entries of an L2 slice are looked at a byte of all of them at a time (their highest bytes, then
the next ones...), which Python does by few operations on long integers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.clusters.mapping import (
    check_l2_offset,
    load_slice,
    slice_index,
    without_table,
)
from qmpd.block.model.status_map import DATA, ZERO, StatusMap

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

_MOST: Final = 1 << 18
"""Clusters looked at in one call."""

_COMPRESSED: Final = bytes(byte for byte in range(256) if not byte & 0x40)
_OFFSET_BYTES: Final = range(1, 7)
"""Those of the bytes of an entry, the lowest first, that an offset is in."""
_IS_ZERO: Final = bytes(byte & 1 for byte in range(256))
_IS_SET: Final = bytes(byte > 0 for byte in range(256))
_STATES: Final = bytes([ZERO, DATA]) + bytes(254)
_LITTLE: Final = sys.byteorder == "little"


async def image_map(s: Qcow2State, offset: int, length: int) -> StatusMap | None:
    """What an area holds, or the first part of it; the same as `image_status` tells.

    :returns: None where it takes a closer look: entries that must not be, subclusters, another
        file that has to be asked
    :raises BlockIOError: the file cannot be read
    """
    geometry = s.geometry
    if geometry.extended_l2 or s.has_data_file or s.backing is not None or s.header.version < 3:
        return None
    found = StatusMap(offset)
    end = offset + min(length, _MOST << geometry.cluster_bits)
    async with s.lock:
        if s.metadata_preallocation is not False:
            return None
        while found.end < end:
            position = found.end
            empty = without_table(s, position, end - position)
            if empty:
                found.add(empty, ZERO)
                continue
            l2_offset = await check_l2_offset(s, position >> geometry.l1_shift)
            table = await load_slice(s, position, l2_offset)
            try:
                index = slice_index(s, position)
                skipped = geometry.offset_into_cluster(position)
                count = min(s.l2_slice_size - index, geometry.clusters(end - position + skipped))
                entries = table.data[index : index + count]
            finally:
                s.l2_cache.put(table)
            states = _states(entries.tobytes(), geometry.cluster_bits) if _LITTLE else None
            if states is None:
                return None
            found.add_many(states, geometry.cluster_size, skipped)
    found.cut(end - offset)
    return found


def _states(raw: bytes, cluster_bits: int) -> bytes | None:
    """The state of each cluster; None where an entry takes a closer look.

    :param raw: L2 entries, little-endian
    """
    count = len(raw) // 8
    if raw[7::8].translate(None, _COMPRESSED):
        return None
    placed = 0
    for number in _OFFSET_BYTES:
        plane = raw[number::8]
        low = max(9, 8 * number)
        if low < cluster_bits:
            # bits that an aligned offset has not got
            wrong = (1 << min(8, cluster_bits - 8 * number)) - (1 << low - 8 * number)
            if plane.translate(None, bytes(byte for byte in range(256) if not byte & wrong)):
                return None
        placed |= int.from_bytes(plane, "little")
    data = placed.to_bytes(count, "little").translate(_IS_SET)
    zero = raw[::8].translate(_IS_ZERO)
    states = int.from_bytes(data, "little") & ~int.from_bytes(zero, "little")
    return states.to_bytes(count, "little").translate(_STATES)

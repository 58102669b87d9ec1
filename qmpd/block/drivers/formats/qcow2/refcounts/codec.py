"""Refcount blocks as sequences of numbers, for every width of the format.

In memory a block is a mutable sequence with one item per cluster, whose
`index`, slicing and item access run at C speed; on disk refcounts below a byte
are packed from the low bits up, those above are big-endian.
"""

from __future__ import annotations

import sys
from array import array

_ARRAY_CODES = {4: "H", 5: "I", 6: "Q"}
_SWAP = sys.byteorder == "little"
_UNPACK = {
    order: [
        bytes(byte >> shift & ((1 << (1 << order)) - 1) for byte in range(256))
        for shift in range(0, 8, 1 << order)
    ]
    for order in (0, 1, 2)
}


def decode_refcounts(raw: bytes | bytearray, order: int) -> bytearray | array[int]:
    """The refcounts of a block.

    :param raw: the block as it is on disk
    :param order: log2 of the refcount width in bits
    """
    if order == 3:
        return bytearray(raw)
    if order > 3:
        counts = array(_ARRAY_CODES[order], bytes(raw))
        if _SWAP:
            counts.byteswap()
        return counts
    tables = _UNPACK[order]
    unpacked = bytearray(len(raw) * len(tables))
    for position, table in enumerate(tables):
        unpacked[position :: len(tables)] = raw.translate(table)
    return unpacked


def encode_refcounts(counts: bytearray | array[int], order: int) -> bytes:
    """The block on disk that `decode_refcounts` reads as `counts`."""
    if isinstance(counts, array):
        if _SWAP:
            counts = counts[:]
            counts.byteswap()
        return counts.tobytes()
    if order == 3:
        return bytes(counts)
    per_byte = 8 >> order
    packed = 0
    for position in range(per_byte):
        shift = position << order
        packed |= int.from_bytes(counts[position::per_byte], "little") << shift
    return packed.to_bytes(len(counts) // per_byte, "little")


def empty_refcounts(entries: int, order: int) -> bytearray | array[int]:
    """A block of `entries` refcounts, all zero."""
    if order <= 3:
        return bytearray(entries)
    return array(_ARRAY_CODES[order], bytes(entries << (order - 3)))


def first_free(counts: bytearray | array[int], start: int) -> int:
    """Index of the first zero refcount at or after `start`; the length when there is none."""
    try:
        return counts.index(0, start)
    except ValueError:
        return len(counts)


def last_used(counts: bytearray | array[int], start: int, stop: int) -> int:
    """Index of the last refcount that is not zero in `start`..`stop`; -1 when all are free."""
    part = counts[start:stop]
    if not any(part):
        return -1
    for index in range(stop - 1, start - 1, -1):
        if counts[index]:
            return index
    return -1

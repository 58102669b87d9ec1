"""The values of a roaring bitmap at another scale: merging bitmaps of different granularities.

Runs are scaled one by one.  Containers without order (kept as plain bits) would
be tens of thousands of short runs each, so they are scaled as text of zeroes
and ones, which Python does at the speed of C.
"""

from __future__ import annotations

from pyroaring import BitMap64

from .roaring import CONTAINER, Container, Kind, containers, from_bytes, runs

_COARSEST_SHIFT = 13
"""Up to here a container made coarser still fills whole bytes."""

_FINEST_SHIFT = 6
"""Up to here a container made finer stays small; longer runs are cheaper one by one."""


def coarser(bits: BitMap64, shift: int) -> BitMap64:
    """Every value divided by ``2 ** shift``."""
    if shift > _COARSEST_SHIFT:
        return coarser(coarser(bits, _COARSEST_SHIFT), shift - _COARSEST_SHIFT)
    result = BitMap64()
    orderly, dense = _split_dense(bits)
    for container in dense:
        number = int.from_bytes(container.payload, "little")
        for step in range(shift):
            number |= number >> (1 << step)
        lowest_first = format(number, f"0{CONTAINER}b")[::-1][:: 1 << shift]
        packed = int(lowest_first[::-1], 2).to_bytes(CONTAINER >> shift >> 3, "little")
        result |= from_bytes(packed, container.base >> shift)
    for start, end in runs(orderly):
        result.add_range(start >> shift, ((end - 1) >> shift) + 1)
    return result


def finer(bits: BitMap64, shift: int) -> BitMap64:
    """For every value v all of ``v << shift .. ((v + 1) << shift) - 1``."""
    result = BitMap64()
    orderly, dense = _split_dense(bits) if shift <= _FINEST_SHIFT else (bits, [])
    scaled = {ord("0"): "0" * (1 << shift), ord("1"): "1" * (1 << shift)}
    for container in dense:
        text = format(int.from_bytes(container.payload, "little"), f"0{CONTAINER}b")
        packed = int(text.translate(scaled), 2).to_bytes(CONTAINER << shift >> 3, "little")
        result |= from_bytes(packed, container.base << shift)
    for start, end in runs(orderly):
        result.add_range(start << shift, end << shift)
    return result


def _split_dense(bits: BitMap64) -> tuple[BitMap64, list[Container]]:
    """The values in arrays and runs, and the containers of the others."""
    if not bits.get_statistics()["n_bitset_containers"]:
        return bits, []
    dense = [container for container in containers(bits) if container.kind is Kind.BITS]
    orderly = bits.copy()
    for container in dense:
        orderly.remove_range(container.base, container.base + CONTAINER)
    return orderly, dense

"""The extents of an area, as a reply to block status has them."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from operator import sub
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from qmpd.export.nbd.export import Context, Runs

_FEW: Final = 64
"""Runs whose lengths are better computed one by one."""


async def extents_of(
    context: Context, offset: int, length: int, most: int
) -> tuple[Sequence[int], Sequence[int]]:
    """The extents of an area; adjacent extents with the same status are merged.

    :param most: how many there may be: what lies behind is left out
    :returns: the length of each, bytes, and its status
    """
    lengths: list[int] = []
    states = bytearray()
    end = offset + length
    while offset < end:
        runs = await context.runs(offset, end - offset) if most > 1 else None
        if runs is None or not runs.starts:
            extent = await context.extent(offset, end - offset)
            offset += extent.length or end - offset
            full = _add(lengths, states, (extent.length,), bytes((extent.state,)), most)
        else:
            offset += runs.length
            if not states and offset == end and len(runs.starts) <= most:
                return _lengths(runs), _states(runs)
            full = _add(lengths, states, _lengths(runs), _states(runs), most)
        if full:
            break
    return lengths, states


def _states(runs: Runs) -> bytes:
    """The status of each run."""
    count = len(runs.starts)
    return (bytes(runs.states) * (count // 2 + 1))[:count]


def _lengths(runs: Runs) -> Sequence[int]:
    """How long each run is."""
    starts, count = runs.starts, len(runs.starts)
    if count < _FEW or runs.length >> 32:
        return list(map(sub, [*starts[1:], runs.length], starts))
    # all differences at once: numbers that grow, side by side in two long ones
    begins = int.from_bytes(_bytes(array("I", starts)), "little")
    ends = begins >> 32 | runs.length << 32 * (count - 1)
    lengths = array("I", (ends - begins).to_bytes(4 * count, "little"))
    if sys.byteorder == "big":
        lengths.byteswap()
    return lengths


def _bytes(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _add(
    lengths: list[int],
    states: bytearray,
    more: Sequence[int],
    their_states: bytes,
    most: int,
) -> bool:
    """Add extents that differ from each other; returns whether they are too many."""
    if states and states[-1] == their_states[0]:
        lengths[-1] += more[0]
        more, their_states = more[1:], their_states[1:]
    room = most - len(lengths)
    lengths += more[:room]
    states += their_states[:room]
    return len(more) > room


def packed(code: Literal["I", "Q"], lengths: Sequence[int], states: Sequence[int]) -> bytes:
    """Lengths and statuses in turn, as the wire has them.

    :param code: of a number: 32 or 64 bits
    """
    numbers = array(code, bytes(2 * array(code).itemsize * len(lengths)))
    numbers[::2] = array(code, lengths)
    numbers[1::2] = array(code, list(states))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()

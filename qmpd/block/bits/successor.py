"""Frozen bitmaps: what happens to a bitmap while a job uses it, and afterwards.

While a backup copies what a bitmap says, the bitmap is frozen and an anonymous
successor on the same node records new writes.  In the end the successor takes
the bitmap's place (`abdicate`), or its bits are added to the bitmap's again
(`reclaim`), so that the next attempt copies everything that this one should have.
"""

from __future__ import annotations

from typing import Protocol

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.bitmaps import Bitmaps
from qmpd.block.bits.rules import check


class BitmapHolder(Protocol):
    """A node, as far as bitmaps need it."""

    bitmaps: Bitmaps
    """The newest first."""


def create_successor(node: BitmapHolder, bitmap: DirtyBitmap) -> DirtyBitmap:
    """Freeze `bitmap`, a bitmap of `node`, and let a new anonymous bitmap record instead.

    The successor records if the bitmap did.

    :returns: the successor
    :raises GenericError: the bitmap is busy already
    """
    check(bitmap, "successor")
    successor = DirtyBitmap(bitmap.size, bitmap.granularity, enabled=bitmap.enabled)
    node.bitmaps.add(successor)
    bitmap.enabled = False
    bitmap.busy = True
    bitmap.successor = successor
    return successor


def abdicate(node: BitmapHolder, bitmap: DirtyBitmap) -> DirtyBitmap:
    """Replace `bitmap` by its successor, which takes its name and persistence.

    :returns: the former successor
    """
    successor = bitmap.successor
    assert successor is not None
    successor.persistent = bitmap.persistent
    bitmap.persistent = False
    bitmap.successor = None
    bitmap.busy = False
    node.bitmaps.take_place(bitmap, successor)
    return successor


def reclaim(node: BitmapHolder, bitmap: DirtyBitmap) -> DirtyBitmap:
    """Add the successor's bits to `bitmap` and drop it; `bitmap` records if it did.

    :returns: `bitmap`
    """
    successor = bitmap.successor
    assert successor is not None
    bitmap.merge_from(successor)
    bitmap.enabled = successor.enabled
    bitmap.busy = False
    bitmap.successor = None
    node.bitmaps.remove(successor)
    return bitmap

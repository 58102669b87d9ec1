"""Roaring bitmaps, where pyroaring is not to be asked itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyroaring import BitMap64


def next_set(bits: BitMap64, value: int) -> int | None:
    """The first value of `bits` from `value` on; None if there is none.

    pyroaring's ``next_set_bit`` never gives back 224 bytes each time that it finds none.
    """
    if not bits or bits.max() < value:
        return None
    return int(bits.next_set_bit(value))

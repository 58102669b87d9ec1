"""Which bitmap of a node has which name, also where a damaged image has given one to two."""

from __future__ import annotations

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.bitmaps import Bitmaps


def test_a_name_that_two_have() -> None:
    bitmaps = Bitmaps()
    old, new, nameless = (DirtyBitmap(4096, 512, name) for name in ("b", "b", None))
    for bitmap in (old, new, nameless):
        bitmaps.add(bitmap)
    assert list(bitmaps) == [nameless, new, old]
    assert bitmaps.named("b") is new
    bitmaps.remove(nameless)
    bitmaps.remove(new)
    assert bitmaps.named("b") is old
    bitmaps.remove(old)
    assert bitmaps.named("b") is None
    bitmaps.add(old)
    bitmaps.add(new)
    bitmaps.remove(old)
    assert bitmaps.named("b") is new
    bitmaps.remove(new)
    assert bitmaps.named("b") is None
